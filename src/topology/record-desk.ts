import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { Turns } from '../base/turns.js'
import { GenericDecoder, type DecodedValue } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { deadLetterHeaders, encryptedHeader, openedLetter, sealOf } from '../consumer/dead-letter.js'
import { RangeReader } from '../consumer/range-reader.js'
import { hidden } from '../privacy/mask.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { isToken } from '../privacy/token-text.js'
import { tokenOf } from '../privacy/tokeniser.js'
import { partitionOf } from '../producer/murmur2.js'
import { RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { RecordMask, shapeOf } from './record-mask.js'
import { deadLetterRow, redrivenHeader, scoredRow, type DeadLetterRow, type ScoredRow } from './record-view.js'

export const recordDeskLimits = {
  /** Scored events of a partition that are looked through for those of one entity, newest first: the sum of these. */
  historyWindows: [1000, 4000, 15_000],
  historyRecordsMax: 50,
  /** Look-ups that wait, the one at work included. */
  callsMax: 16,
  /** Bytes of a dead letter that are shown. */
  shownBytesMax: 4096,
} as const

export interface RecordDeskOptions {
  readonly connection: ClusterConnection
  readonly topology: Topology
  readonly namespace?: string | undefined
  /** Where it is noted that a dead letter was sent again. */
  readonly auditTopic: string
  /** Opens dead letters that are encrypted, and finds the tokens of an entity. */
  readonly privacyKeys?: PrivacyKeys | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** Whose past is looked up: an entity as it is, its token, or that of the scored event at an offset of the partition's alerts. */
export interface HistoryWanted {
  readonly entity: string
  /** By default the partition that the entity's key goes to; of a token all are looked through. */
  readonly partition: number | undefined
  readonly alert?: number | undefined
  readonly count: number
}

/** Headers that a dead letter has beyond those of its record. */
const ofCause = new Set<string>([...Object.values(deadLetterHeaders), redrivenHeader, encryptedHeader])

/** A dead letter from near. */
export interface DeadLetterLook extends DeadLetterRow {
  readonly headers: readonly { readonly name: string; readonly value: string | null }[]
  /** Null where its contents are not to be seen. */
  readonly key: string | null
  readonly hex: string | null
  readonly text: string | null
  readonly isCut: boolean
  /** The version of the key that it is encrypted under; null: it is not. */
  readonly encrypted: number | null
  /** What can be read of it; where contents are not to be seen: names, and types in place of values. */
  readonly decoded: DecodedValue
  /** Who has sent it again. */
  readonly redriven: { readonly at: string; readonly actor: string; readonly reason: string } | null
}

export interface Redrive {
  readonly actor: string
  /** `key <prefix>` */
  readonly id: string
  readonly reason: string
  readonly request: string
  /** Also when it was sent again before. */
  readonly again: boolean
}

/**
 * Looks up single records of a topology's outputs, and sends dead letters again.
 *
 * A dead letter goes back into the partition of the input that it came from, with its key, bytes and headers, as a new record at the
 * end. That and the note about it in the audit are one transaction, after the notes of all others: it is sent again once, unless it is
 * said that it shall be once more.
 */
export class RecordDesk {
  readonly #options: RecordDeskOptions
  readonly #names: TopologyNames
  readonly #decoder: GenericDecoder
  /** What people see of the records. */
  readonly mask: RecordMask
  #reader: Promise<RangeReader> | undefined
  readonly #turns = new Turns({ max: recordDeskLimits.callsMax, refuse: (waiting) => new HarrierError('OVERLOADED', `${waiting} look-ups wait`, { retryAfterMs: 1000 }) })

  constructor(options: RecordDeskOptions) {
    this.#options = options
    const { connection, topology, namespace, clock, logger } = options
    this.#names = topologyNames(topology.chain.at(-1)!, namespace)
    this.mask = new RecordMask(topology, namespace)
    this.#decoder = new GenericDecoder(new RegistryClient(connection.registryUrl, { clock, logger, security: connection.registrySecurity }))
  }

  /** The newest scored events of an entity, oldest first, among the newest of its partition. Errors: NOT_FOUND, PRIVACY_KEY_MISSING. */
  async history(wanted: HistoryWanted): Promise<{ readonly events: readonly ScoredRow[]; readonly scanned: number }> {
    return await this.#inTurn(async (reader) => {
      const topic = this.#names.scored
      const count = await this.#partitions(topic)
      const { partition } = wanted
      if (partition !== undefined && partition >= count) throw new HarrierError('NOT_FOUND', `${topic} has no partition ${partition}`)
      const entity = Buffer.from(wanted.entity)
      const keys = wanted.alert === undefined || partition === undefined ? this.#keysOf(wanted.entity) : [await this.#keyOfAlert(reader, partition, wanted.alert)]
      const partitions = partition !== undefined ? [partition] : isToken(wanted.entity) ? Array.from({ length: count }, (_, at) => at) : [partitionOf(entity, 0, entity.length, count)]
      const events: ScoredRow[] = []
      let scanned = 0
      for (const at of partitions) {
        const found = await this.#historyIn(reader, at, keys, wanted.count)
        events.push(...found.events)
        scanned += found.scanned
      }
      return { events: events.slice(-wanted.count), scanned }
    })
  }

  /** The keys that records of an entity may have: of a personal one its tokens, and itself for those from before it was personal. */
  #keysOf(entity: string): Buffer[] {
    const { topology, privacyKeys } = this.#options
    const { personal, stage } = topology.chain.at(-1)!
    if (!personal?.entity || !personal.tokens || isToken(entity)) return [Buffer.from(entity)]
    if (!privacyKeys) throw new HarrierError('PRIVACY_KEY_MISSING', 'scored events name this entity by its token, and no keys are at hand to make it', { remedy: 'ask by the token, or start the service with --privacy-keys' })
    return [entity, ...privacyKeys.tokens.map((key) => tokenOf(key, personal.domains.get(stage.key)!, entity))].map((text) => Buffer.from(text))
  }

  async #keyOfAlert(reader: RangeReader, partition: number, offset: number): Promise<Buffer> {
    const found = await this.#record(reader, this.#names.alerts, partition, offset, 'the alert is not there any more')
    return Buffer.from(found.key(0) ?? [])
  }

  async #historyIn(reader: RangeReader, partition: number, keys: readonly Buffer[], count: number): Promise<{ readonly events: ScoredRow[]; readonly scanned: number }> {
    const topic = this.#names.scored
    const { low, stableEnd } = await reader.watermarks(topic, partition)
    const events: ScoredRow[] = []
    let to = stableEnd
    for (const window of recordDeskLimits.historyWindows) {
      const from = Math.max(low, to - window)
      const found: { offset: number; time: number; value: Uint8Array }[] = []
      if (from < to) {
        await reader.readRange({ topic, partition, from, to }, (columns) => {
          for (let row = 0; row < columns.count; row++) {
            const own = columns.key(row)
            if (own && keys.some((key) => key.equals(own))) found.push({ offset: columns.offset[row]!, time: columns.timestamp[row]!, value: Uint8Array.from(columns.value(row) ?? []) })
          }
        })
      }
      const rows = await Promise.all(found.slice(-count).map(async ({ offset, time, value }) => scoredRow({ topic, partition, offset, time }, await this.#decoder.decode(value))))
      events.unshift(...rows.filter((row) => row !== undefined))
      to = from
      if (events.length >= count || from === low) break
    }
    return { events, scanned: stableEnd - to }
  }

  /** The newest dead letters, oldest first. */
  async deadLetters(count: number): Promise<DeadLetterRow[]> {
    return await this.#inTurn(async (reader) => {
      const topic = this.#names.deadLetters
      const rows: DeadLetterRow[] = []
      const partitions = await this.#partitions(topic)
      for (let partition = 0; partition < partitions; partition++) {
        const last = await reader.lastRecords(topic, partition, { count })
        for (let row = 0; row < last.count; row++) rows.push(deadLetterRow({ topic, partition, offset: last.offset[row]!, time: last.timestamp[row]! }, last.headers(row), last.value(row)))
      }
      return rows.sort((a, b) => a.time - b.time).slice(-count)
    })
  }

  /** Errors: NOT_FOUND. */
  async deadLetter(partition: number, offset: number, { whole }: { readonly whole: boolean }): Promise<DeadLetterLook> {
    return await this.#inTurn(async (reader) => {
      const found = await this.#deadLetter(reader, partition, offset)
      const encrypted = sealOf(found, 0) ?? null
      const original = encrypted !== null && whole ? this.#opened(found) : found
      const value = original.value(0)
      const row = deadLetterRow({ topic: this.#names.deadLetters, partition, offset, time: found.timestamp[0]! }, found.headers(0), value)
      const headers = encrypted !== null && whole ? [...original.headers(0).filter(({ name }) => !ofCause.has(name)), ...found.headers(0).filter(({ name }) => ofCause.has(name))] : found.headers(0)
      const decoded = encrypted !== null && !whole ? { encoding: 'binary' as const, value: hidden } : await this.#decoder.decode(value)
      const shown = value && Buffer.from(value).subarray(0, recordDeskLimits.shownBytesMax)
      const key = original.key(0)
      return {
        ...row,
        headers: headers.map(({ name, value: text }) => ({ name, value: whole || ofCause.has(name) ? (text?.toString() ?? null) : null })),
        key: whole && key ? Buffer.from(key).toString() : null,
        hex: whole && shown ? shown.toString('hex') : null,
        text: whole && shown && decoded.encoding !== 'binary' && decoded.encoding !== 'avro' ? shown.toString() : null,
        isCut: (value?.length ?? 0) > recordDeskLimits.shownBytesMax,
        encrypted,
        decoded: whole ? decoded : { ...decoded, value: decoded.encoding === 'avro' || decoded.encoding === 'json' ? shapeOf(decoded.value) : `(${value?.length ?? 0} bytes)` },
        redriven: await this.#redriven(reader, partition, offset),
      }
    })
  }

  /** Errors: NOT_FOUND; RELEASE_REFUSED when it was sent again before, or came from somewhere else; those of a transaction. */
  async redrive(partition: number, offset: number, { actor, id, reason, request, again }: Redrive): Promise<{ readonly topic: string; readonly partition: number }> {
    return await this.#inTurn(async (reader) => {
      const { connection, clock, logger, auditTopic } = this.#options
      const found = await this.#deadLetter(reader, partition, offset)
      const original = this.#opened(found)
      const { source } = deadLetterRow({ topic: this.#names.deadLetters, partition, offset, time: 0 }, found.headers(0), null)
      const inputs = this.#inputs()
      if (!inputs.includes(source.topic) || !Number.isSafeInteger(source.partition) || source.partition < 0) {
        throw new HarrierError('RELEASE_REFUSED', `the dead letter says that it came from "${source.topic.slice(0, 100)}", which is no input of this topology`, { remedy: `dead letters of ${inputs.join(', ')} can be sent again` })
      }
      const { brokers, security } = connection
      const producer = new RdkafkaTransactionalProducer({ brokers, security, clock, logger, transactionalId: `${this.#names.deadLetters}-redrive`, ...connectLimits(connection) })
      try {
        // Ends what another one has open under this name: then the audit has every note before ours.
        await producer.init()
        const before = await this.#redriven(reader, partition, offset)
        if (before && !again) throw new HarrierError('RELEASE_REFUSED', `${before.actor} has sent it again already, ${before.at}: ${before.reason}`, { remedy: 'say that it shall be sent once more, if that is meant' })
        const columns = new RecordColumns(2)
        columns.append(0, source.partition, 0, clock.nowMs(), original.key(0), original.value(0))
        for (const { name, value } of original.headers(0)) if (!ofCause.has(name)) columns.appendHeader(name, value)
        columns.appendHeader(redrivenHeader, this.#subject(partition, offset))
        const note = { at: new Date(clock.nowMs()).toISOString(), actor, id, action: 'dead-letters.redrive', subject: this.#subject(partition, offset), reason, request, before: null, after: { topic: source.topic, partition: source.partition } }
        columns.append(1, 0, 0, clock.nowMs(), Buffer.from(note.subject), Buffer.from(JSON.stringify(note)))
        await producer.begin()
        await producer.send(columns, [source.topic, auditTopic])
        await producer.commit()
        return { topic: source.topic, partition: source.partition }
      } finally {
        await producer.close()
      }
    })
  }

  async close(): Promise<void> {
    await this.#turns.ended()
    await (await this.#reader?.catch(() => undefined))?.close()
  }

  /** Inputs of the stages, and labels: whose records become dead letters. */
  #inputs(): string[] {
    const { topology, namespace } = this.#options
    return topology.chain.flatMap((view) => {
      const { input, labels } = topologyNames(view, namespace)
      return labels === undefined ? [input] : [input, labels]
    })
  }

  #subject(partition: number, offset: number): string {
    return `${this.#names.deadLetters}/${partition}/${offset}`
  }

  /** The newest note that it was sent again. */
  async #redriven(reader: RangeReader, partition: number, offset: number): Promise<DeadLetterLook['redriven']> {
    const { auditTopic } = this.#options
    if ((await this.#partitions(auditTopic)) === 0) return null
    const subject = Buffer.from(this.#subject(partition, offset))
    let note: DeadLetterLook['redriven'] = null
    await reader.readRange({ topic: auditTopic, partition: 0, from: 'earliest', to: 'settled-end' }, (columns) => {
      for (let row = 0; row < columns.count; row++) {
        const key = columns.key(row)
        const value = columns.value(row)
        if (!key || !value || !subject.equals(key)) continue
        const { at, actor, reason } = JSON.parse(Buffer.from(value).toString()) as { at: string; actor: string; reason: string }
        note = { at, actor, reason }
      }
    })
    return note
  }

  #deadLetter(reader: RangeReader, partition: number, offset: number): Promise<RecordColumns> {
    return this.#record(reader, this.#names.deadLetters, partition, offset, 'its retention may have passed')
  }

  /** As it was refused. */
  #opened(found: RecordColumns): RecordColumns {
    return openedLetter(found, 0, this.#options.privacyKeys?.deadLetters ?? [])
  }

  async #record(reader: RangeReader, topic: string, partition: number, offset: number, remedy: string): Promise<RecordColumns> {
    const kept = new RecordColumns(1)
    const missing = (): HarrierError => new HarrierError('NOT_FOUND', `${topic} has no record ${offset} in partition ${partition}`, { remedy })
    if (partition >= (await this.#partitions(topic))) throw missing()
    const { low, stableEnd } = await reader.watermarks(topic, partition)
    if (offset < low || offset >= stableEnd) throw missing()
    await reader.readRange({ topic, partition, from: offset, to: offset + 1 }, (columns) => void (columns.count > 0 && kept.copyRow(columns, 0)))
    if (kept.count === 0) throw missing()
    return kept
  }

  async #partitions(topic: string): Promise<number> {
    const { connection, clock } = this.#options
    return await withAdmin({ ...connection, clock, ...connectLimits(connection) }, async (admin) => (await admin.partitionCounts([topic])).get(topic) ?? 0)
  }

  /** One look-up at a time. Errors: OVERLOADED. */
  #inTurn<T>(work: (reader: RangeReader) => Promise<T>): Promise<T> {
    return this.#turns.take(async () => await work(await this.#openReader()))
  }

  #openReader(): Promise<RangeReader> {
    this.#reader ??= this.#open()
    this.#reader.catch(() => (this.#reader = undefined))
    return this.#reader
  }

  async #open(): Promise<RangeReader> {
    const { connection, clock, logger } = this.#options
    const { brokers, security } = connection
    const reader = new RangeReader({ brokers, security, clock, logger, groupId: this.#names.group, ...connectLimits(connection) })
    await reader.start()
    return reader
  }
}
