import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import { systemClock } from '../base/clock.js'
import { parseDurationMs } from '../base/durations.js'
import { createLogger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { exportFeatures, isTable } from '../topology/export-features.js'
import { loadTopology, stageOf } from '../topology/load-topology.js'
import { terminalProgress } from './terminal-progress.js'

interface FeaturesOptions extends ConnectionOptions {
  topology: string
  from: string
  out: string
  stage?: string
  labels?: string
  labelDelay: string
  models?: string
  column: Record<string, string>
  epoch: string
  json?: boolean
}

/** `harrier features`: what the models see, for training and for checking. */
export function register(program: Command): void {
  const command = program
    .command('features')
    .description('write one feature row for each event (or turned day) of a table or topic, as the stream computes it')
    .requiredOption('--from <source>', 'a .csv or .parquet file, or the name of a topic')
    .requiredOption('--out <file>', 'the Parquet file to write')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--stage <name>', 'whose rows; a table goes through the stages before it, a topic is its own input (default: the last stage)')
    .option('--labels <topic>', 'the labels of a topic\'s events')
    .option('--label-delay <duration>', 'how long after its event a label of a table becomes known', '7d')
    .option('--models <folder>', 'folder of model versions, where a stage reads the score of the one before')
    .option('--column <field=column>', 'column of a field, where the names differ (repeatable)', collectColumn, {})
    .option('--epoch <date>', 'event time of second 0, for tables with a column `seconds`', '2018-04-01')
    .option('--json', 'the result as one line of JSON')
  addConnectionOptions(command).action(features)
}

async function features(options: FeaturesOptions): Promise<void> {
  const declared = loadTopology(options.topology)
  const topology = options.stage === undefined ? declared.chain.at(-1)! : stageOf(declared, options.stage)
  const epochMs = Date.parse(options.epoch)
  const connections = isTable(options.from) ? undefined : await resolveConnections(options)
  const startedMs = systemClock.monotonicMs()
  const progress = terminalProgress(process.stderr, systemClock)
  const result = await exportFeatures({
    topology,
    from: options.from,
    labelsFrom: options.labels,
    labelDelayMs: parseDurationMs(options.labelDelay),
    models: options.models,
    out: options.out,
    columns: options.column,
    epochMs,
    connections,
    clock: systemClock,
    logger: createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' }),
    onProgress: (done, of) => {
      const secondsLeft = Math.round((((systemClock.monotonicMs() - startedMs) / done) * (of - done)) / 1000)
      progress.onProgress(`${done.toLocaleString('en')} of ${of.toLocaleString('en')} rows, ${secondsLeft} s left`, 'tick')
    },
  })
  progress.end()
  const seconds = (systemClock.monotonicMs() - startedMs) / 1000
  if (options.json) process.stdout.write(`${JSON.stringify({ ...result, out: options.out, seconds })}\n`)
  else {
    process.stdout.write(`${result.rows.toLocaleString('en')} rows of ${topology.stage.features.length} features in ${seconds.toFixed(1)} s: ${options.out}\n`)
    if (result.late > 0) process.stdout.write(`${result.late.toLocaleString('en')} events came after the grace period\n`)
    if (result.refused > 0) process.stdout.write(`${result.refused.toLocaleString('en')} records gave no row; the first: ${result.firstRefusal}\n`)
  }
}

export function collectColumn(text: string, before: Record<string, string>): Record<string, string> {
  const match = /^([^=]+)=(.+)$/.exec(text)
  if (!match) throw new InvalidArgumentError('field=column is wanted.')
  return { ...before, [match[1]!]: match[2]! }
}
