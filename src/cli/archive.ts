import type { Command } from 'commander'
import { reachOf, type ArchiveIndex } from '../audit/archive-index.js'
import { ArchiveLog } from '../audit/archive-log.js'
import type { ArchiveStore } from '../audit/archive-store.js'
import { archiveTopics } from '../audit/archive-writer.js'
import { ModelFiles } from '../audit/model-files.js'
import { KafkaLog } from '../audit/record-log.js'
import { systemClock } from '../base/clock.js'
import { parseDurationMs } from '../base/durations.js'
import { createLogger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology } from '../topology/load-topology.js'
import { modelsFolder } from '../topology/open-scorer.js'
import { iso } from './evidence-text.js'
import { archiveAt, modelsAt, storeChoice } from './object-places.js'
import { terminalProgress } from './terminal-progress.js'

interface ArchiveOptions extends ConnectionOptions {
  topology: string
  namespace?: string
  models?: string
  every?: number
  show?: boolean
  json?: boolean
}

/** `harrier archive`: keeps what an audit needs beyond the retention of the topics. */
export function register(program: Command): void {
  const command = program
    .command('archive')
    .description('keep inputs, labels, lineage, scores and snapshots of state in a folder or an object store, so that audits work after the topics were truncated')
    .argument('<folder or s3://…>', 'the archive; what is there is added to')
    .option('--topology <name>', 'whose topics', 'card-fraud')
    .option('--namespace <name>', 'the prefix with which the topology runs')
    .option('--models <folder or s3://…>', 'where the files of models are that have scored (default: models/ of Harrier)')
    .option('--every <duration>', 'go on, and add what has come each so often, until Ctrl-C', parseDurationMs)
    .option('--show', 'only say how far it reaches')
    .option('--json', 'one line of JSON')
    .addHelpText('after', `
Each run takes a snapshot of the state: of each entity the newest changelog record. Audits begin there.
In an object store (s3://<bucket>/<prefix>, docs/connections.md) the index is replaced only as it was read: one that writes at a time.`)
  addConnectionOptions(command).action(archive)
}

async function archive(place: string, options: ArchiveOptions): Promise<void> {
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })
  const store = archiveAt(place, () => storeChoice(options), logger)
  if (options.show) return await showReach(store, options)
  const topology = loadTopology(options.topology)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => (stop.signal.aborted ? process.exit(130) : stop.abort()))
  const progress = terminalProgress(process.stderr, systemClock)
  const models = new ModelFiles([modelsAt(options.models ?? modelsFolder, () => storeChoice(options), logger)])
  const log = await KafkaLog.open(await resolveConnections(options), systemClock, logger)
  try {
    do {
      const counts = await archiveTopics({
        log, store, topology, namespace: options.namespace, models, signal: stop.signal,
        onProgress: (text) => progress.onProgress(text, 'tick'),
        onWarning: (text) => progress.onProgress(`warning: ${text}`, 'step'),
      })
      progress.end()
      if (options.every !== undefined) progress.onProgress(`${iso(systemClock.nowMs())}  ${counts.records.toLocaleString('en')} records in ${counts.segments} segments`, 'step')
      if (options.every !== undefined) await systemClock.sleep(options.every, stop.signal)
    } while (options.every !== undefined && !stop.signal.aborted)
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    progress.end()
    await log.close()
  }
  await showReach(store, options)
  process.exit(0)
}

async function showReach(store: ArchiveStore, options: ArchiveOptions): Promise<void> {
  try {
    show((await ArchiveLog.open(store)).index, options)
  } finally {
    store.close()
  }
}

function show(index: ArchiveIndex, { json }: ArchiveOptions): void {
  const reach = reachOf(index)
  if (json) {
    process.stdout.write(`${JSON.stringify({ topology: index.topology, namespace: index.namespace, reach, models: index.models })}\n`)
    return
  }
  const rows = [
    ['topic', 'partition', 'offsets', 'records', 'from', 'to'],
    ...reach.map(({ topic, partition, from, to, records, firstMs, lastMs }) => [topic, String(partition), `${from}..${to}`, records.toLocaleString('en'), firstMs === null ? '' : iso(firstMs).slice(0, 19), lastMs === null ? '' : iso(lastMs).slice(0, 19)]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  process.stdout.write(`${rows.map((row) => row.map((cell, column) => (column >= 1 && column <= 3 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join('  ').trimEnd()).join('\n')}\n`)
  for (const { topic, partition, gaps } of reach) for (const gap of gaps) process.stdout.write(`gap: offsets ${gap.from} to ${gap.to} of ${topic}/${partition} were gone when they were to be archived\n`)
}
