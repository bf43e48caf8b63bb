import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { createLogger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits } from '../connection/security.js'
import { RangeReader } from '../consumer/range-reader.js'
import { readRecord, type ReadRecord } from '../consumer/read-record.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { RecordMask } from '../topology/record-mask.js'
import { parseCount } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { styledLine, span, wantsColours } from './view/styled-line.js'
import { formatRecord, headings } from './view/tail-format.js'
import { maskedRecord, openedRecord, recordAsJson, toTailRecord, type RecordKind, type TailRecord } from './view/tail-record.js'
import { newestRecords } from './view/newest-records.js'
import { partitionsOf, topicAliases, topicNamed } from './view/tail-topic.js'
import { TopicFollower, type StartingPoint } from '../consumer/topic-follower.js'

interface TailOptions extends ConnectionOptions, PrivacyOptions {
  topology: string
  namespace?: string
  fromBeginning?: boolean
  last: number
  count?: number
  json?: boolean
  clear?: boolean
}

/** `harrier tail`: what is on a topic, for a person. */
export function register(program: Command): void {
  const command = program
    .command('tail')
    .description('decode and follow a topic: scores, alerts, lineage, dead letters, or any other')
    .argument('<topic>', `full name, or ${Object.keys(topicAliases).join(', ')} of the topology`)
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--namespace <name>', 'the prefix with which the topology runs')
    .option('--from-beginning', 'all records, the oldest first')
    .option('--last <n>', 'begin with the newest n records (0: only those to come)', natural, 10)
    .option('--count <n>', 'end after n records', parseCount)
    .option('--json', 'one line of JSON for each record; integers beyond 2^53 as text')
    .option('--clear', 'personal values and dead letters as they are; encrypted dead letters are opened with --privacy-keys')
  addPrivacyOptions(addConnectionOptions(command)).action(tail)
}

async function tail(name: string, options: TailOptions): Promise<void> {
  const topology = loadTopology(options.topology)
  const topic = topicNamed(name, topologyNames(topology, options.namespace), options.namespace)
  const keys = options.clear ? (privacyKeysOf(options)?.deadLetters ?? []) : undefined
  const mask = options.clear ? undefined : new RecordMask(topology, options.namespace)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (stop.signal.aborted ? process.exit(130) : stop.abort()))
  // The reader of a pipe may leave when it has seen enough.
  process.stdout.on('error', () => process.exit(0))
  const connections = await resolveConnections(options)
  const { brokers, security, registryUrl, registrySecurity } = connections
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })
  const decoder = new GenericDecoder(new RegistryClient(registryUrl, { clock: systemClock, logger, security: registrySecurity }))
  const printer = new RecordPrinter(options)
  const follower = new TopicFollower(connections, systemClock)
  const reader = new RangeReader({ brokers, security, clock: systemClock, logger, ...connectLimits(connections) })
  const show = async (record: ReadRecord): Promise<void> => {
    if (stop.signal.aborted) return
    const { opened, problem } = keys === undefined ? { opened: record } : openedRecord(record, keys)
    const shown = toTailRecord(opened, await decoder.decode(opened.value, stop.signal))
    await printer.print(mask ? maskedRecord(shown, mask) : problem === undefined ? shown : { ...shown, decoded: { encoding: 'binary', value: problem, problem }, isMasked: true })
    if (printer.isDone) stop.abort()
  }
  const showAll = async (columns: RecordColumns, topics: readonly string[]): Promise<void> => {
    for (let row = 0; row < columns.count; row++) await show(readRecord(columns, row, topics))
  }
  try {
    await follower.connect()
    const partitions = partitionsOf(topic, await follower.partitionCounts())
    let from = fromEarliest(topic, partitions)
    if (!options.fromBeginning) {
      await reader.start()
      const newest = await newestRecords(reader, { topic, partitions, count: options.last, signal: stop.signal })
      for (const record of newest.records) await show(record)
      from = newest.next
    }
    const stopped = new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve()
      stop.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    if (!stop.signal.aborted) await Promise.race([follower.follow(from, showAll), stopped])
  } catch (error) {
    // Leaving while the registry is waited for is no failure.
    if (!stop.signal.aborted) throw error
  } finally {
    await follower.close()
  }
  process.exit(0)
}

/** Prints in the form that was asked for, and knows when it has printed enough. */
class RecordPrinter {
  readonly #options: TailOptions
  readonly #coloured = wantsColours(process.stdout)
  #printed = 0
  #kind: RecordKind | undefined

  constructor(options: TailOptions) {
    this.#options = options
  }

  get isDone(): boolean {
    return this.#printed >= (this.#options.count ?? Infinity)
  }

  async print(record: TailRecord): Promise<void> {
    if (this.isDone) return
    this.#printed++
    const text = this.#options.json ? `${recordAsJson(record)}\n` : this.#text(record)
    if (!process.stdout.write(text)) await new Promise<void>((resolve) => process.stdout.once('drain', resolve))
  }

  #text(record: TailRecord): string {
    const { kind, lines } = formatRecord(record)
    const heading = kind === this.#kind ? undefined : headings[kind]
    this.#kind = kind
    return [...(heading === undefined ? [] : [[span(heading, 'dim')]]), ...lines].map((line) => `${styledLine(line, Infinity, this.#coloured)}\n`).join('')
  }
}

function fromEarliest(topic: string, partitions: number): StartingPoint[] {
  return Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 'earliest' as const }))
}

function natural(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new HarrierError('USAGE', `--last "${text}" is not a natural number`)
  return value
}
