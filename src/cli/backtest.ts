import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import { join } from 'node:path'
import { resultFiles, runBacktest, type BacktestResult } from '../backtest/backtest.js'
import type { LossSpec, PartitionRange } from '../backtest/backtest-options.js'
import { systemClock } from '../base/clock.js'
import { parseDurationMs } from '../base/durations.js'
import { HarrierError } from '../base/errors.js'
import { createLogger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { changeTopology, modelSettings } from '../topology/change-topology.js'
import { isTable } from '../topology/export-features.js'
import { stageOf, type Topology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { collectColumn } from './features.js'
import { modelsAt, storeChoice } from './object-places.js'
import { parseCount, parseDevice, parseTime, parseWorkers } from './parse-options.js'
import { terminalProgress } from './terminal-progress.js'
import type { DevicePolicy } from '../inference/device.js'
import type { Workers } from '../topology/open-scorer.js'

interface BacktestCommandOptions extends ConnectionOptions {
  topology: string
  from: string
  out: string
  models?: string[]
  modelFolder?: string
  stage?: string
  since?: number
  until?: number
  warmUp?: number
  offsets: PartitionRange[]
  labels?: string
  labelDelay: string
  set: string[]
  whatIf: string[]
  whatIfTopology?: string
  reviewCost: number
  loss: LossSpec
  alerts: number
  cards: number
  compareLive?: boolean
  compareWith?: string
  namespace?: string
  device?: DevicePolicy
  workers: Workers
  column: Record<string, string>
  epoch: number
  json?: boolean
}

const help = `
It joins no group, commits nothing and writes to no topic: scores.parquet, report.html and summary.json in --out.

Examples:
  Two models over past payments, August and September measured, all before as warm-up
    harrier backtest --topology card-fraud --from payments.parquet --since 2018-08-08 \\
                     --models card-gru@1,card-attention@1 --out report/
  What if reviews began at 0.08?
    harrier backtest … --what-if stages.customer.policy.review=0.08
  Does the engine of today give the scores that went out?
    harrier backtest --topology card-fraud --from transactions --compare-live --out report/`

/** `harrier backtest`: past events with other models, thresholds or topologies, and a report. */
export function register(program: Command): void {
  const command = program
    .command('backtest')
    .description('score past events of a topic or table with other models, thresholds or topologies, and write a report')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .requiredOption('--from <source>', 'a .csv or .parquet file, or the name of a topic')
    .requiredOption('--out <folder>', 'where report.html, scores.parquet and summary.json go')
    .option('--models <a@1,b@2>', 'models of the last stage, the deciding one first (default: those of the topology)', list)
    .option('--model-folder <folder or s3://…>', 'where model versions live (default: models/ of Harrier)')
    .option('--since <time>', 'event time from which on events are measured; all before are warm-up', parseTime)
    .option('--until <time>', 'event time before which they end', parseTime)
    .option('--warm-up <duration>', 'how long before --since the warm-up begins (default: with the first event)', parseDurationMs)
    .option('--offsets <p:from-to>', 'offsets [from, to) of a partition of the topic (repeatable; default: all)', collectRange, [])
    .option('--stage <name>', 'the stage to begin with; --from is then its own input (default: the first)')
    .option('--labels <topic>', 'labels of a topic\'s events, or none (default: the topology\'s)')
    .option('--label-delay <duration>', 'how long after its event a label of a table becomes known', '7d')
    .option('--set <path=value>', 'change a setting of the topology (repeatable)', collect, [])
    .option('--what-if <path=value>', 'run beside it with this setting changed, and compare (repeatable)', collect, [])
    .option('--what-if-topology <name>', 'run this topology beside it, and compare')
    .option('--review-cost <amount>', 'what looking at an alert costs', parseAmount, 5)
    .option('--loss <amount|field*factor>', 'what a missed fraud costs: so much each, or a field of the event', parseLoss, { each: 100 })
    .option('--alerts <n>', 'alerts a day that people can look at', parseCount, 100)
    .option('--cards <n>', 'k of card precision@k', parseCount, 100)
    .option('--compare-live', 'compare with the scored topic of the topology, to the bit')
    .option('--compare-with <topic>', 'the same, with another scored topic')
    .option('--namespace <name>', 'the prefix with which the topology runs: of the topics that it names')
    .option('--device <device>', 'cpu, webgpu, cuda or auto (default: the topology\'s)', parseDevice)
    .option('--workers <n>', 'threads that run models, for each stage: a number, or auto', parseWorkers, 'auto')
    .option('--column <field=column>', 'column of a field, where the names differ (repeatable)', collectColumn, {})
    .option('--epoch <date>', 'event time of second 0, for tables with a column `seconds`', parseTime, Date.parse('2018-04-01'))
    .option('--json', 'the summary as one line of JSON')
    .addHelpText('after', help)
  addConnectionOptions(command).action(backtest)
}

async function backtest(options: BacktestCommandOptions): Promise<void> {
  const declared = changeTopology(options.topology, [...options.set, ...modelSettings(options.topology, options.models)])
  const topology = stageOf(declared, options.stage)
  const first = topologyNames(declared, options.namespace)
  const isFile = isTable(options.from)
  const from = isFile || options.namespace === undefined || options.from.startsWith(`${options.namespace}.`) ? options.from : `${options.namespace}.${options.from}`
  const stop = new AbortController()
  const onSignal = (): void => (stop.signal.aborted ? process.exit(130) : stop.abort())
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const progress = terminalProgress(process.stderr, systemClock)
  const scored = options.compareWith ?? (options.compareLive ? first.scored : undefined)
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })
  let result: BacktestResult
  try {
    result = await runBacktest({
      topology,
      whatIf: whatIfOf(options, topology),
      from,
      sinceMs: options.since,
      untilMs: options.until,
      warmUpMs: options.warmUp,
      offsets: options.offsets,
      labelsFrom: options.labels === 'none' ? undefined : (options.labels ?? first.labels),
      labelDelayMs: parseDurationMs(options.labelDelay),
      columns: options.column,
      epochMs: options.epoch,
      models: modelsAt(options.modelFolder, () => storeChoice(options), logger),
      device: options.device,
      workers: options.workers,
      out: options.out,
      reviewCost: options.reviewCost,
      loss: options.loss,
      alertsADay: options.alerts,
      cardsADay: options.cards,
      compareWith: scored === undefined ? undefined : { scored, lineage: scored.replace(/\.scored$/, '.lineage') },
      connections: isFile ? undefined : await resolveConnections(options),
      clock: systemClock,
      logger,
      signal: stop.signal,
      onProgress: progress.onProgress,
    })
  } catch (error) {
    progress.end()
    if (!stop.signal.aborted) throw error
    process.stderr.write('stopped: no report was written\n')
    process.exit(130)
  }
  progress.end()
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : describe(result, options))
  // A run that was to give the live scores and does not has failed.
  process.exit(result.live && !result.live.isEqual ? 1 : 0)
}

function whatIfOf(options: BacktestCommandOptions, { place }: Topology): { topology: Topology; text: string } | undefined {
  const { whatIf, whatIfTopology, set, models, topology } = options
  if (whatIf.length === 0 && whatIfTopology === undefined) return undefined
  const changed = whatIfTopology === undefined ? changeTopology(topology, [...set, ...modelSettings(topology, models), ...whatIf]) : changeTopology(whatIfTopology, whatIf)
  const view = changed.chain[place]
  if (!view) throw new HarrierError('USAGE', `${whatIfTopology} has no stage ${place + 1}`, { remedy: 'leave --stage away' })
  return { topology: view, text: [...(whatIfTopology === undefined ? [] : [whatIfTopology]), ...whatIf].join(', ') }
}

function describe(result: BacktestResult, { out, alerts, cards }: BacktestCommandOptions): string {
  const { figures, live, refused, firstRefusal, read, seconds, notes } = result
  const lines = [`${figures.events.toLocaleString('en')} events measured after ${result.warmUp.toLocaleString('en')} of warm-up, ${Math.round(read / seconds).toLocaleString('en')} records/s, ${seconds.toFixed(1)} s in all`]
  const shown = (value: number | null | undefined, digits = 4): string => (value === null || value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(digits))
  const rows = [
    ['model', 'AUC ROC', 'average precision', `card precision@${cards}`, `recall at ${alerts} alerts/day`, 'alerts/day', 'of them fraud', 'frauds found'],
    ...figures.models.map(({ name, ranking, cardPrecision, review, byDay }) => {
      const at = ranking?.atThresholds.find(({ threshold }) => threshold === review)
      return [name, shown(ranking?.aucRoc), shown(ranking?.averagePrecision), shown(cardPrecision), shown(ranking?.atBudget.recall), (byDay.reduce((sum, day) => sum + day.alerts, 0) / Math.max(1, byDay.length)).toFixed(1), shown(at?.precision), shown(at?.recall)]
    }),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  lines.push('', ...rows.map((row) => `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ')}`), '')
  if (figures.labelled === 0) lines.push('no event has a label: give --labels, or a table with a column is_fraud')
  if (refused > 0) lines.push(`${refused.toLocaleString('en')} records were not scored; the first: ${firstRefusal}`)
  for (const { model, isLive, compared, equal, largestDifference, begunAnew } of live?.models ?? []) {
    if (!isLive) lines.push(`${model}: has not scored on ${live!.topic}`)
    else if (equal === compared) lines.push(`${model}: ${compared.toLocaleString('en')} scores compared with ${live!.topic}, all equal to the bit`)
    else lines.push(`${model}: ${(compared - equal).toLocaleString('en')} of ${compared.toLocaleString('en')} scores differ from ${live!.topic}, by at most ${largestDifference}`)
    if (begunAnew > 0) lines.push(`${model}: ${begunAnew.toLocaleString('en')} more were given after a release that had begun its states anew: not compared, \`harrier audit\` proves them`)
  }
  if (live && live.missing > 0) lines.push(`${live.missing.toLocaleString('en')} events are not on ${live.topic}`)
  lines.push(...notes, `report: ${join(out, resultFiles.report)}`)
  return `${lines.join('\n')}\n`
}

function list(text: string): string[] {
  return text.split(',').map((each) => each.trim()).filter((each) => each !== '')
}

function collect(text: string, before: string[]): string[] {
  if (!/^[^=]+=/.test(text)) throw new InvalidArgumentError('path=value is wanted, for example stages.customer.policy.review=0.08')
  return [...before, text]
}

function collectRange(text: string, before: PartitionRange[]): PartitionRange[] {
  const match = /^(\d+):(\d+)-(\d+)$/.exec(text)
  if (!match || Number(match[2]) >= Number(match[3])) throw new InvalidArgumentError('partition:from-to is wanted, for example 0:1000-5000')
  return [...before, { partition: Number(match[1]), from: Number(match[2]), to: Number(match[3]) }]
}

function parseAmount(text: string): number {
  const amount = Number(text)
  if (!(amount >= 0) || !Number.isFinite(amount)) throw new InvalidArgumentError('a number of at least 0 is wanted.')
  return amount
}

function parseLoss(text: string): LossSpec {
  if (/^[\d.]+$/.test(text)) return { each: parseAmount(text) }
  const match = /^([a-z][\w-]*)(?:\*([\d.]+))?$/i.exec(text)
  if (!match) throw new InvalidArgumentError('a number, or a field and a factor is wanted: 120, or amount*0.01')
  return { field: match[1]!, factor: match[2] === undefined ? 1 : parseAmount(match[2]) }
}
