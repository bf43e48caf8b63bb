import avro from 'avsc'
import { assert } from '../base/assert.js'
import { ManualClock, systemClock } from '../base/clock.js'
import { digestOf } from '../base/digest.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { noTimestamp, RecordColumns } from '../base/record-columns.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import type { LineageRecord } from '../codec/lineage-codec.js'
import { UnknownSchemaIdError } from '../codec/registry-client.js'
import { schemaPrefix } from '../codec/registry-prefix.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { hashKey } from '../entity/key-index.js'
import { exportBytesMax, exportNothing, exportSlot } from '../inference/slot-sections.js'
import { onnxruntimeVersion } from '../inference/device-class.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import type { StageModels } from '../registry/release.js'
import type { Batch } from './batch.js'
import { takeLabels } from './label-reader.js'
import type { Topology } from './load-topology.js'
import { Sink, topologyNames, type TopologyNames } from './names.js'
import { harrierVersion } from './harrier-version.js'
import { openScorer, type Models } from './open-scorer.js'
import type { Tracing } from './open-tracing.js'
import { outputPrivacy } from './output-privacy.js'
import { Outputs } from './outputs.js'
import { TaskRestorer } from './restore.js'
import { Stage } from './stage.js'

/** A record for the driver. An object as value is encoded by the source's schema (or as JSON); bytes pass as they are. */
export interface TestRecord {
  readonly key: string | Uint8Array | null
  readonly value: object | Uint8Array | null
  /** Default: by the hash of the key. */
  readonly partition?: number
  /** Default: the driver's clock where it was given `startMs`, else none. */
  readonly timestampMs?: number
  readonly headers?: Readonly<Record<string, string | Uint8Array | null>>
}

/** A record that the topology wrote. */
export interface TestOutput {
  readonly topic: string
  readonly partition: number
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly bytes: Buffer | null
  /** Decoded; of a dead letter the original value, as far as it can be read. */
  readonly value: unknown
  readonly headers: Readonly<Record<string, Buffer | null>>
}

export interface TestOutputs {
  readonly scored: TestOutput[]
  readonly alerts: TestOutput[]
  readonly deadLetters: TestOutput[]
  readonly lineage: (TestOutput & { readonly value: LineageRecord })[]
  /** Changelog records. */
  readonly state: TestOutput[]
  /** What stages have passed on to the next ones. */
  readonly forwarded: TestOutput[]
}

export interface TestDriverOptions {
  readonly topology: Topology
  readonly models?: Models
  /** What is released for the stage; default: nothing, the models that the topology names score. */
  readonly released?: StageModels
  readonly partitions?: number
  /** Threads that run models; 0 (default): the calling thread, where a model cannot time out. */
  readonly workers?: number
  readonly startMs?: number
  readonly registry?: MemoryRegistry
  readonly tracing?: Tracing | undefined
  /** As `harrier run` has them. */
  readonly privacyKeys?: PrivacyKeys | undefined
}

/** A schema registry in memory. While `down` it lets callers wait, as the real client does. */
export class MemoryRegistry {
  readonly #schemas: object[] = []
  readonly #waiting: (() => void)[] = []
  #down = false

  get down(): boolean {
    return this.#down
  }

  set down(down: boolean) {
    this.#down = down
    if (!down) for (const wake of this.#waiting.splice(0)) wake()
  }

  /** The same schema again gives the same id. Ids begin with 1. */
  register(schema: object): number {
    const text = JSON.stringify(schema)
    const known = this.#schemas.findIndex((each) => JSON.stringify(each) === text)
    return known >= 0 ? known + 1 : this.#schemas.push(schema)
  }

  async schemaById(id: number, signal?: AbortSignal): Promise<object> {
    while (this.#down && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
        signal?.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    if (this.#down) throw new HarrierError('REGISTRY_UNAVAILABLE', 'the registry in memory is down')
    const schema = this.#schemas[id - 1]
    if (!schema) throw new UnknownSchemaIdError(id)
    return schema
  }

  isUnknownId(id: number): boolean {
    return this.#schemas[id - 1] === undefined
  }
}

interface LoggedRecord {
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, string | Uint8Array | null])[]
}

/** What was written, by partition: the topics that a restart reads. */
interface Log {
  readonly input: LoggedRecord[][]
  readonly labels: LoggedRecord[][]
  readonly lineage: LoggedRecord[][]
  readonly state: LoggedRecord[][]
}

/** Records that the topology has folded and scored, and not yet decided: to be committed or rolled back, newest first. */
export interface OpenBatch {
  readonly batch: Batch
  readonly records: number
}

/**
 * Runs a real topology without a broker, with a clock that the test moves: decoding, state, features, models, policy and
 * encoding are those of the engine; the topics are lists in memory.
 *
 *     const driver = await TopologyTestDriver.open({ topology: loadTopology('card-fraud') })
 *     const { scored, alerts } = await driver.pipe([{ key: '7', value: { transaction_id: 1, customer_id: '7', … } }])
 */
export class TopologyTestDriver {
  readonly topology: Topology
  readonly clock: ManualClock
  readonly registry: MemoryRegistry
  readonly stage: Stage
  readonly names: TopologyNames
  readonly #options: TestDriverOptions
  readonly #outputs: Outputs
  readonly #decoder: GenericDecoder
  readonly #logs: Log
  /** The next stage. */
  readonly next: TopologyTestDriver | undefined

  private constructor(options: TestDriverOptions, stage: Stage, registry: MemoryRegistry, next?: TopologyTestDriver, log?: Log) {
    const { topology } = options
    this.topology = topology
    this.next = next
    this.clock = next?.clock ?? new ManualClock(options.startMs ?? 0)
    this.registry = registry
    this.stage = stage
    this.names = topologyNames(topology)
    this.#options = options
    this.#decoder = new GenericDecoder(registry)
    const partitions = options.partitions ?? 1
    const empty = (): LoggedRecord[][] => Array.from({ length: partitions }, () => [])
    this.#logs = log ?? { input: empty(), labels: empty(), lineage: empty(), state: empty() }
    const { scorer } = stage
    this.#outputs = new Outputs(stage, {
      schemaIds: {
        ...(topology.forward
          ? { forward: registry.register(topology.forward.schema) }
          : { scored: registry.register(loadOwnSchema('scored-event')), alert: registry.register(loadOwnSchema('alert')) }),
        lineage: registry.register(loadOwnSchema('lineage')),
      },
      inputTopic: this.names.input,
      labelsTopic: this.names.labels,
      partitions: this.#logs.input.length,
      transactionalId: this.names.transactionalId('test'),
      engine: { harrier: harrierVersion, onnxruntime: onnxruntimeVersion(), node: process.versions.node, device_class: scorer.deviceClass },
      tracing: options.tracing?.stage(topology, this.names.input),
      ...outputPrivacy(topology, options.privacyKeys),
    })
    for (let partition = 0; partition < this.#logs.input.length; partition++) stage.addTask(partition).isReady = true
  }

  /** Errors: those of the models and of the source's schema. */
  static async open(options: TestDriverOptions): Promise<TopologyTestDriver> {
    return await TopologyTestDriver.#create(options)
  }

  static async #create(options: TestDriverOptions, log?: Log, nextOf?: (options: TestDriverOptions) => Promise<TopologyTestDriver>): Promise<TopologyTestDriver> {
    const { topology } = options
    const registry = options.registry ?? new MemoryRegistry()
    const following = topology.chain[topology.place + 1]
    const next = following && (await (nextOf ?? TopologyTestDriver.open)({ ...options, topology: following, registry }))
    if (topology.labels?.readerSchema) registry.register(topology.labels.readerSchema)
    if (topology.readerSchema) registry.register(topology.readerSchema)
    const workers = options.workers ?? 0
    // Threads are real, so what times them out is real time.
    const scorer = await openScorer({ topology, models: options.models, released: options.released, workers, clock: workers > 0 ? systemClock : new ManualClock(), logger: silentLogger })
    return new TopologyTestDriver(options, new Stage(topology, scorer, registry, options.partitions ?? 1), registry, next, log)
  }

  /** Takes records through the topology, at most `batchRecordsMax` in a transaction, and gives what committed. */
  async pipe(records: readonly TestRecord[], batchRecordsMax = this.topology.spec.limits.batchRecordsMax): Promise<TestOutputs> {
    const all: TestOutputs = { scored: [], alerts: [], deadLetters: [], lineage: [], state: [], forwarded: [] }
    for (let from = 0; from < records.length; from += batchRecordsMax) {
      const outputs = await this.commit(await this.fold(records.slice(from, from + batchRecordsMax)))
      addTo(all, outputs)
    }
    return all
  }

  /** As an engine whose input stands still: batches without records while days are due. */
  async idle(): Promise<TestOutputs> {
    const all = await this.pipe([])
    while (this.stage.tasks.some((task) => task && this.stage.turns?.owes(task))) addTo(all, await this.commit(await this.#fold([])))
    if (this.next) addTo(all, await this.next.idle())
    return all
  }

  /** Puts labels on their topic. Each comes into effect before the first event that reaches its `known_at`. */
  async label(records: readonly TestRecord[]): Promise<void> {
    assert(this.topology.labels, 'the topology reads labels')
    for (const record of records) await this.#readLabel(this.#log(record, 'labels'))
  }

  async #readLabel(record: LoggedRecord): Promise<void> {
    const columns = new RecordColumns(1)
    appendTo(columns, record)
    await takeLabels(this.stage, this.stage.tasks[record.partition]!.labels!, columns)
  }

  /** Steps 1 to 5 of the batch cycle. Changelog records come as the clock goes on: what is dirty for `checkpointIntervalMs` is written. */
  async fold(records: readonly TestRecord[]): Promise<OpenBatch> {
    return this.#fold(records.map((record) => this.#log(record)))
  }

  async #fold(records: readonly LoggedRecord[]): Promise<OpenBatch> {
    const batch = this.stage.makeBatch()
    for (const record of records) appendTo(batch.records, record)
    await this.stage.decoder.prepare(batch.records)
    this.stage.checkpointer.turn(batch, this.clock.monotonicMs())
    this.stage.fold(batch)
    await this.stage.score(batch)
    return { batch, records: records.length }
  }

  /** Steps 6 and 7. */
  async commit({ batch }: OpenBatch): Promise<TestOutputs> {
    this.#outputs.decide(batch)
    this.#outputs.encode(batch)
    const { outputs } = batch
    const all: TestOutput[][] = [[], [], [], [], [], []]
    const passedOn: LoggedRecord[] = []
    for (let row = 0; row < outputs.count; row++) {
      const sink = outputs.topic[row]!
      const output = await this.#decode(outputs, row, this.names.sinks[sink]!)
      all[sink]!.push(output)
      if (sink === Sink.forward) passedOn.push(this.next!.#append('input', { ...output, value: output.bytes, headers: Object.entries(output.headers) }))
      if (sink !== Sink.lineage && sink !== Sink.state) continue
      const log = this.#logs[sink === Sink.state ? 'state' : 'lineage'][output.partition]!
      log.push({ partition: output.partition, offset: log.length, timestampMs: output.timestampMs, key: output.key, value: output.bytes, headers: [] })
    }
    this.stage.commit(batch)
    const [scored, alerts, deadLetters, lineage, state, forwarded] = all as [TestOutput[], TestOutput[], TestOutput[], TestOutputs['lineage'], TestOutput[], TestOutput[]]
    const outcome = { scored, alerts, deadLetters, lineage, state, forwarded }
    for (let from = 0; from < passedOn.length; from += this.topology.spec.limits.batchRecordsMax) {
      addTo(outcome, await this.next!.commit(await this.next!.#fold(passedOn.slice(from, from + this.topology.spec.limits.batchRecordsMax))))
    }
    return outcome
  }

  /** As if the batch had never been: its records leave the input, too. The newest open batch first. */
  rollback({ batch }: OpenBatch): void {
    for (let row = 0; row < batch.polled; row++) this.#logs.input[batch.records.partition[row]!]!.pop()
    this.stage.rollback(batch)
  }

  /** Another process on the same topics, whose changelog has been compacted: it restores its state as the engine does. */
  async restart(options: Partial<TestDriverOptions> = {}): Promise<TopologyTestDriver> {
    const copy = (log: LoggedRecord[][]): LoggedRecord[][] => log.map((records) => [...records])
    const { input, labels, lineage, state } = this.#logs
    const log = { input: copy(input), labels: copy(labels), lineage: copy(lineage), state: state.map(compacted) }
    const { next } = this
    const driver = await TopologyTestDriver.#create({ ...this.#options, registry: this.registry, ...options }, log, next && (({ topology }) => next.restart({ ...options, topology })))
    const reader = { readRange: driver.#readRange.bind(driver), lastRecords: driver.#lastRecords.bind(driver) }
    const restorer = new TaskRestorer({ reader, names: driver.names, registry: driver.registry, clock: driver.clock, logger: silentLogger, tokens: outputPrivacy(this.topology, driver.#options.privacyKeys).tokens })
    for (const task of driver.stage.tasks) {
      const position = this.stage.tasks[task!.partition]!.position
      await restorer.restore(driver.stage, task!, position < 0 ? null : position, new AbortController().signal)
      const { labels } = task!
      if (labels) for (const record of log.labels[task!.partition]!.slice(Math.max(0, labels.readTo))) await driver.#readLabel(record)
    }
    return driver
  }

  /** sha256 of everything kept of each entity, by `partition/key`: equal digests, equal state to the bit. */
  stateDigests(): Map<string, string> {
    const { store, scorer, tasks } = this.stage
    const bytes = new Uint8Array(exportBytesMax(scorer.memory))
    const digests = new Map<string, string>()
    for (const task of tasks) {
      for (const slot of task!.index) {
        // Expiry is logical: whether a slot that has expired still lies there is no part of the state.
        if (store.isFresh(slot, task!.streamTimeMs)) continue
        const key = Buffer.from(store.slots.keyOf(slot)).toString()
        const memory = Buffer.from(bytes.subarray(0, this.stage.turns?.isBlank(slot) === true ? exportNothing(bytes, 0) : exportSlot(scorer.memory, slot, bytes, 0))).toString('hex')
        digests.set(`${task!.partition}/${key}`, digestOf({ words: [...store.exportWords(slot)], memory }))
      }
      digests.set(`${task!.partition}`, digestOf({ next: task!.nextSequence, position: Math.max(0, task!.position), streamTimeMs: task!.streamTimeMs, turnPosition: task!.turnPosition }))
    }
    return new Map([...digests].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  async close(): Promise<void> {
    await this.stage.scorer.close()
    await this.next?.close()
  }

  #log(record: TestRecord, log: 'input' | 'labels' = 'input'): LoggedRecord {
    const key = typeof record.key === 'string' ? Buffer.from(record.key) : record.key
    const partition = record.partition ?? (key ? hashKey(key, 0, key.length) % this.#logs.input.length : 0)
    const source = log === 'input' ? this.topology.spec.source : this.topology.labels!.spec
    const schema = log === 'input' ? this.topology.readerSchema : this.topology.labels!.readerSchema
    const value = record.value === null || record.value instanceof Uint8Array ? record.value : this.encode(record.value, schema, source.format)
    return this.#append(log, { partition, timestampMs: record.timestampMs ?? (this.#options.startMs === undefined ? noTimestamp : this.clock.nowMs()), key, value, headers: Object.entries(record.headers ?? {}) })
  }

  #append(log: 'input' | 'labels', record: Omit<LoggedRecord, 'offset'>): LoggedRecord {
    const records = this.#logs[log][record.partition]!
    const { partition, timestampMs, key, value, headers } = record
    const logged = { partition, offset: records.length, timestampMs, key, value, headers }
    records.push(logged)
    return logged
  }

  /** The bytes of an event in the source's format; `schema` is the writer's, default the source's own. */
  encode(value: object, schema = this.topology.readerSchema, format = this.topology.spec.source.format): Uint8Array {
    if (format === 'json') return Buffer.from(JSON.stringify(value))
    if (format === 'json-schema') return Buffer.concat([schemaPrefix(this.registry.register(schema ?? {})), Buffer.from(JSON.stringify(value))])
    if (!schema) throw new HarrierError('SCHEMA_INVALID', `the source of ${this.topology.name} names no schema to encode with`)
    return Buffer.concat([schemaPrefix(this.registry.register(schema)), avro.Type.forSchema(schema as avro.Schema).toBuffer(value)])
  }

  async #decode(columns: RecordColumns, row: number, topic: string): Promise<TestOutput> {
    const key = columns.key(row)
    const value = columns.value(row)
    return {
      topic,
      partition: columns.partition[row]!,
      timestampMs: columns.timestamp[row]!,
      key: key && Buffer.from(key),
      bytes: value && Buffer.from(value),
      value: (await this.#decoder.decode(value)).value,
      headers: Object.fromEntries(columns.headers(row).map((header) => [header.name, header.value])),
    }
  }

  async #readRange(
    range: { topic: string; partition: number; from: number | 'earliest'; to: number | 'stable-end' | 'settled-end' },
    onBatch: (columns: RecordColumns) => void | Promise<void>,
  ): Promise<{ records: number; position: number }> {
    const log = this.#logOf(range.topic)[range.partition]!
    const from = range.from === 'earliest' ? 0 : range.from
    const to = typeof range.to === 'number' ? range.to : Infinity
    const records = log.filter(({ offset }) => offset >= from && offset < to)
    const columns = new RecordColumns(Math.max(1, records.length))
    for (const record of records) appendTo(columns, record)
    if (columns.count > 0) await onBatch(columns)
    return { records: columns.count, position: log.length }
  }

  #lastRecords(topic: string, partition: number, options: { count?: number; accept?: (columns: RecordColumns, row: number) => boolean } = {}): Promise<RecordColumns> {
    const log = this.#logOf(topic)[partition]!
    const all = new RecordColumns(Math.max(1, log.length))
    for (const record of log) appendTo(all, record)
    const rows = log.map((_, row) => row).filter((row) => options.accept?.(all, row) ?? true)
    const last = new RecordColumns(Math.max(1, rows.length))
    for (const row of rows.slice(-(options.count ?? 1))) last.copyRow(all, row)
    return Promise.resolve(last)
  }

  #logOf(topic: string): LoggedRecord[][] {
    const { input, labels, lineage, state } = this.#logs
    return topic === this.names.input ? input : topic === this.names.labels ? labels : topic === this.names.lineage ? lineage : state
  }
}

function addTo(all: TestOutputs, more: TestOutputs): void {
  for (const kind of ['scored', 'alerts', 'deadLetters', 'lineage', 'state', 'forwarded'] as const) (all[kind] as TestOutput[]).push(...more[kind])
}

/** The newest record of each key, as a broker that has compacted leaves them. */
function compacted(records: readonly LoggedRecord[]): LoggedRecord[] {
  const keyOf = ({ key }: LoggedRecord): string => Buffer.from(key!).toString('hex')
  const newest = new Map(records.map((record) => [keyOf(record), record]))
  return records.filter((record) => newest.get(keyOf(record)) === record)
}

function appendTo(columns: RecordColumns, { partition, offset, timestampMs, key, value, headers }: LoggedRecord): void {
  columns.append(0, partition, offset, timestampMs, key, value)
  for (const [name, header] of headers) columns.appendHeader(name, header)
}
