import type { Command } from 'commander'
import { systemClock, type Clock } from '../base/clock.js'
import { formatDuration, parseDurationMs } from '../base/durations.js'
import { HarrierError } from '../base/errors.js'
import { createMissingTopics } from '../simulator/create-topics.js'
import { CsvWriter } from '../simulator/csv-writer.js'
import { KafkaSink } from '../simulator/kafka-sink.js'
import type { LabelChoice } from '../simulator/label-cursor.js'
import { LiveSimulator } from '../simulator/live-simulator.js'
import { openSource, type GeneratorKind } from '../simulator/open-source.js'
import type { Pace } from '../simulator/pacer.js'
import { secondsPerDay } from '../simulator/parameters.js'
import { ParquetWriter } from '../simulator/parquet-writer.js'
import { clampDays, type DayRange, type TransactionSource } from '../simulator/transaction-source.js'
import { writeTransactions } from '../simulator/transaction-writer.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { aheadMaxDefaultMs } from '../topology/topology-schema.js'
import { terminalProgress } from './terminal-progress.js'

const targets = ['kafka', 'csv', 'parquet'] as const
const generators = ['published', 'counter'] as const
const labelChoices = ['all', 'fraud', 'none'] as const
const formats = ['avro', 'json'] as const

interface SimulateOptions extends ConnectionOptions {
  to: string
  out?: string
  generator?: string
  customers?: number
  terminals?: number
  days?: number
  seed?: number
  radius?: number
  fromDay?: number
  toDay?: number
  events?: number
  rate?: number
  speedup?: number
  fastForward: number
  labels: string
  labelDelay: string
  epoch: string
  namespace?: string
  transactionsTopic: string
  labelsTopic: string
  partitions: number
  format: string
  json?: boolean
}

export function register(program: Command): void {
  const command = program
    .command('simulate')
    .description('card transactions with frauds, and their labels some days later: to Kafka, CSV or Parquet')
    .option('--to <kafka|csv|parquet>', 'where they go', 'kafka')
    .option('--out <file>', 'the file for csv and parquet (- is standard output)')
    .option('--generator <published|counter>', 'published: the draws of the handbook; counter: any size, day by day (default: by size)')
    .option('--customers <n>', 'cards (default: 5000)', integer)
    .option('--terminals <n>', 'points of sale (default: 10000)', integer)
    .option('--days <n>', 'days of the whole simulation (default: 183)', integer)
    .option('--seed <n>', '0 gives the published data set (default: 0)', integer)
    .option('--radius <r>', 'how far a customer goes, on a plane of 100 by 100 (default: 5)', positive)
    .option('--from-day <n>', 'first day to write (default: 0)', integer)
    .option('--to-day <n>', 'day to stop before (default: the end)', integer)
    .option('--events <n>', 'stop after so many transactions', integer)
    .option('--rate <n>', 'transactions per second (default: as fast as it can)', positive)
    .option('--speedup <x>', 'event time runs so many times as fast as the clock', positive)
    .option('--fast-forward <days>', 'so many days of event time at full speed before the rate begins', integer, 0)
    .option('--labels <all|fraud|none>', 'which transactions get a label on the labels topic', 'all')
    .option('--label-delay <duration>', 'event time between a transaction and its label', '7d')
    .option('--epoch <date>', 'when day 0 begins', '2018-04-01')
    .option('--namespace <name>', 'goes before the names of topics and subjects, with a dot')
    .option('--transactions-topic <name>', 'topic of the transactions', 'transactions')
    .option('--labels-topic <name>', 'topic of the labels', 'labels')
    .option('--partitions <n>', 'of topics that have to be created', integer, 4)
    .option('--format <avro|json>', 'how records are written', 'avro')
    .option('--json', 'one JSON line at the end')
  addConnectionOptions(command).action(simulate)
}

async function simulate(options: SimulateOptions): Promise<void> {
  const to = oneOf('--to', options.to, targets)
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const shown = terminalProgress(process.stderr, systemClock)
  try {
    const run = to === 'kafka' ? await prepareKafka(options) : prepareFile(to, options)
    const onProgress = (share: number): void => shown.onProgress(`drawing customers ${Math.round(share * 100)} %`, 'tick')
    const source = openSource(generatorOf(options), sizeOf(options), { onProgress })
    const { days } = source.parameters
    const range = clampDays({ fromDay: options.fromDay ?? 0, toDay: options.toDay ?? days }, days)
    const rowsExpected = Math.min(source.rowsExpected(range), options.events ?? Infinity)
    const startedMs = systemClock.monotonicMs()
    const meter = new Meter(rowsExpected, systemClock, (text) => shown.onProgress(text, 'tick'))
    const done = await run(source, range, meter, stop.signal)
    shown.end()
    const seconds = (systemClock.monotonicMs() - startedMs) / 1000
    const rowsPerSecond = Math.round(done.transactions / Math.max(seconds, 0.001))
    const summary = { to, ...done, stopped: stop.signal.aborted, seconds: Number(seconds.toFixed(3)), rowsPerSecond }
    // With the data itself on standard output the summary goes beside it.
    const output = options.out === '-' ? process.stderr : process.stdout
    output.write(options.json ? `${JSON.stringify(summary)}\n` : `${sentence(summary)}\n`)
  } finally {
    shown.end()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

interface Done {
  transactions: number
  frauds: number
  labels?: number
  out?: string
  topics?: string[]
  eventTime?: string
}

type Run = (source: TransactionSource, range: DayRange, meter: Meter, signal: AbortSignal) => Promise<Done>

function prepareFile(to: 'csv' | 'parquet', options: SimulateOptions): Run {
  const { out } = options
  if (out === undefined) throw new HarrierError('USAGE', `--to ${to} needs --out`, { remedy: `harrier simulate --to ${to} --out transactions.${to}` })
  if (out === '-' && to === 'parquet') throw new HarrierError('USAGE', 'parquet cannot go to standard output', { remedy: 'give --out a file' })
  return async (source, range, meter, signal) => {
    const writer = to === 'csv' ? new CsvWriter(out) : await ParquetWriter.open(out)
    const eventsMax = options.events ?? Infinity
    const counts = await writeTransactions(source, writer, { range, eventsMax, signal, onRows: (rows) => meter.show(rows) })
    return { transactions: counts.rows, frauds: counts.frauds, out }
  }
}

/** Finds broker and registry and creates what is missing, before the long work begins. */
async function prepareKafka(options: SimulateOptions): Promise<Run> {
  if (options.rate !== undefined && options.speedup !== undefined) throw new HarrierError('USAGE', '--rate and --speedup exclude each other')
  const labels = oneOf<LabelChoice>('--labels', options.labels, labelChoices)
  const format = oneOf('--format', options.format, formats)
  const labelDelayMs = parseDurationMs(options.labelDelay)
  const epochMs = epochOf(options.epoch)
  const connections = await resolveConnections(options)
  const prefix = options.namespace === undefined ? '' : `${options.namespace}.`
  const transactionsTopic = prefix + options.transactionsTopic
  const labelsTopic = prefix + options.labelsTopic
  const topics = labels === 'none' ? [transactionsTopic] : [transactionsTopic, labelsTopic]
  const clock = systemClock
  await createMissingTopics(connections, topics, options.partitions, clock)
  return async (source, range, meter, signal) => {
    noteTimesAhead(epochMs + range.toDay * secondsPerDay * 1000, clock)
    const sink = await KafkaSink.open({ ...connections, format, transactionsTopic, labelsTopic, clock, epochMs, labelDelayMs }, signal)
    const pacing = { pace: paceOf(options), fastForwardDays: options.fastForward, eventsMax: options.events ?? Infinity }
    const live = new LiveSimulator({ source, sink, clock, epochMs, range, labels, labelDelayMs, ...pacing })
    const onAbort = (): void => void live.stop().catch(() => undefined)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    const eventTime = (): string => new Date(live.counters.eventTimeMs).toISOString()
    const stopShowing = clock.every(meterIntervalMs, () => meter.show(live.counters.sent, ` at ${eventTime().slice(0, 16)}`))
    try {
      const { sent, fraudsSent, labelsSent } = await live.done
      return { transactions: sent, frauds: fraudsSent, labels: labelsSent, topics, eventTime: eventTime() }
    } finally {
      stopShowing()
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** Records get the time of sending as their timestamps, and an engine refuses events that lie far ahead of it. */
function noteTimesAhead(endMs: number, clock: Clock): void {
  if (endMs <= clock.nowMs() + aheadMaxDefaultMs) return
  const aheadMax = formatDuration(aheadMaxDefaultMs)
  process.stderr.write(`event times go on to ${new Date(endMs).toISOString().slice(0, 10)}: those that are sent more than ${aheadMax} before their time become dead letters, unless source.aheadMax of the topology is longer\n`)
}

const meterIntervalMs = 500

/** Rows, rate and time left, now and then. */
class Meter {
  readonly #rowsExpected: number
  readonly #clock: Clock
  readonly #write: (text: string) => void
  readonly #startedMs: number
  #shownMs: number

  constructor(rowsExpected: number, clock: Clock, write: (text: string) => void) {
    this.#rowsExpected = rowsExpected
    this.#clock = clock
    this.#write = write
    this.#startedMs = clock.monotonicMs()
    this.#shownMs = this.#startedMs
  }

  show(rows: number, where = ''): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#shownMs < meterIntervalMs - 1) return
    this.#shownMs = nowMs
    const of = `of about ${this.#rowsExpected.toLocaleString('en')} transactions`
    if (rows === 0) return this.#write(`drawing the first ${of}`)
    const rate = rows / ((nowMs - this.#startedMs) / 1000)
    const leftSeconds = Math.max(0, Math.ceil((this.#rowsExpected - rows) / rate))
    this.#write(`${rows.toLocaleString('en')} ${of}${where}, ${Math.round(rate).toLocaleString('en')}/s, ${leftSeconds} s left`)
  }
}

function sentence(summary: Done & { stopped: boolean; seconds: number; rowsPerSecond: number }): string {
  const labels = summary.labels === undefined ? '' : ` and ${summary.labels.toLocaleString('en')} labels`
  const place = summary.out ?? summary.topics?.join(', ')
  const how = `${summary.seconds.toFixed(1)} s, ${summary.rowsPerSecond.toLocaleString('en')}/s`
  const what = `${summary.transactions.toLocaleString('en')} transactions (${summary.frauds.toLocaleString('en')} frauds)${labels}`
  return `${summary.stopped ? 'stopped: ' : ''}${what} to ${place} in ${how}`
}

function sizeOf(options: SimulateOptions): Record<string, number> {
  const size: Record<string, number> = {}
  for (const name of ['customers', 'terminals', 'days', 'seed', 'radius'] as const) if (options[name] !== undefined) size[name] = options[name]
  return size
}

function generatorOf(options: SimulateOptions): GeneratorKind | undefined {
  return options.generator === undefined ? undefined : oneOf('--generator', options.generator, generators)
}

function paceOf(options: SimulateOptions): Pace {
  if (options.rate !== undefined) return { kind: 'rate', perSecond: options.rate }
  return options.speedup === undefined ? { kind: 'full' } : { kind: 'speedup', factor: options.speedup }
}

function epochOf(text: string): number {
  const epochMs = Date.parse(text)
  if (!Number.isNaN(epochMs)) return epochMs
  throw new HarrierError('USAGE', `--epoch "${text}" is not a date`, { remedy: 'write for example 2018-04-01 or 2018-04-01T00:00:00Z' })
}

function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text)
  if (found === undefined) throw new HarrierError('USAGE', `${option} is one of ${choices.join(', ')}, not "${text}"`)
  return found
}

function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new HarrierError('USAGE', `"${text}" is not a natural number`)
  return Number(text)
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0) || !Number.isFinite(value)) throw new HarrierError('USAGE', `"${text}" is not a positive number`)
  return value
}
