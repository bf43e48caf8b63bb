import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { createLogger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology, stageOf } from '../topology/load-topology.js'
import { rebuildState } from '../topology/open-rebuild.js'
import { modelsAt } from './object-places.js'
import { parseWorkers } from './parse-options.js'
import { terminalProgress } from './terminal-progress.js'
import type { Workers } from '../topology/open-scorer.js'

interface RebuildOptions extends ConnectionOptions {
  topology: string
  stage?: string
  namespace?: string
  models?: string
  workers?: Workers
  createTopics?: boolean
  json?: boolean
}

/** `harrier rebuild`: folds the state of a new generation beside the running engine. */
export function register(program: Command): void {
  const command = program
    .command('rebuild')
    .description('fold the state of a new generation (windows, features or ring changed) from the input, beside the running engine')
    .option('--topology <name>', 'the changed topology, with its generation raised', 'card-fraud')
    .option('--stage <name>', 'whose state it is (default: the first stage)')
    .option('--namespace <name>', 'prefix of topics, group, transactional ids and subjects')
    .option('--models <folder or s3://…>', 'where model versions live (default: models/ of Harrier)')
    .option('--workers <n>', 'threads that run models, or auto (default: what the topology says)', parseWorkers)
    .option('--create-topics', 'create the changelog of the new generation if it is missing')
    .option('--json', 'the result as one line of JSON at the end')
    .addHelpText(
      'after',
      `
It folds what the running engine has scored, writes changelog and lineage records, and ends. Nothing is scored twice, and
the running engine notices nothing. Run it again at any time: it goes on where it ended. Then stop the engine, and start
it with the changed topology: each partition folds what is left since, and scores on from the very next event.`,
    )
  addConnectionOptions(command).action(rebuild)
}

async function rebuild(options: RebuildOptions): Promise<void> {
  const topology = stageOf(loadTopology(options.topology), options.stage)
  const connections = await resolveConnections(options)
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn', ...(options.json ? { json: true } : {}) })
  const { onProgress, end } = terminalProgress(process.stderr, systemClock)
  const stopping = new AbortController()
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    stopping.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  const startedMs = systemClock.monotonicMs()
  const total = { partitions: 0, records: 0, entities: 0 }
  const done = rebuildState({
    ...connections,
    topology,
    namespace: options.namespace,
    models: modelsAt(options.models, () => connections, logger),
    workers: options.workers,
    createTopics: options.createTopics ? {} : undefined,
    clock: systemClock,
    logger,
    signal: stopping.signal,
    onProgress: ({ partition, done, of, entities }) => {
      onProgress(`partition ${partition}: ${done.toLocaleString('en')} of ${of.toLocaleString('en')} offsets folded, ${entities.toLocaleString('en')} entities`, 'tick')
    },
    onPartition: (partition, rebuilt) => {
      if (!rebuilt) return onProgress(`partition ${partition}: no other state generation has scored any of it`, 'step')
      total.partitions++
      total.records += rebuilt.records
      total.entities += rebuilt.entities
      onProgress(`partition ${partition}: offsets ${rebuilt.from} to ${rebuilt.to} folded, ${rebuilt.entities.toLocaleString('en')} entities`, 'step')
    },
  })
  try {
    await done
  } catch (error) {
    end()
    if (!stopping.signal.aborted) throw error
    process.stderr.write('stopped; run it again: it goes on where it ended\n')
    process.exit(130)
  }
  end()
  const seconds = (systemClock.monotonicMs() - startedMs) / 1000
  const result = { generation: topology.stage.generation, ...total, seconds: Math.round(seconds * 10) / 10 }
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  else if (total.partitions === 0) process.stdout.write(`nothing to rebuild: generation ${result.generation} is the only one that has scored; raise stages.${topology.stageName}.generation after a change of its layout\n`)
  else {
    process.stdout.write(
      `generation ${result.generation}: ${total.entities.toLocaleString('en')} entities from ${total.records.toLocaleString('en')} records in ${result.seconds} s\n` +
        'stop the engine and start it with this topology: it folds what is left and scores on\n',
    )
  }
  process.exit(0)
}
