import { Arena } from '../base/arena.js'
import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import type { KafkaSecurity } from '../connection/security.js'
import { asHarrierError, isPassing, kafkaCode } from './kafka-errors.js'
import { librdkafkaSecurity } from './kafka-security.js'
import { rangeReaderSettings, toConfiguration, type ExtraSettings } from './kafka-settings.js'
import { NativeConsumerDriver, type DriverPoll, type Watermarks } from './native-consumer-driver.js'
import { queryWatermarks, withRetries } from './kafka-calls.js'

export interface RangeReaderLimits {
  readonly connectMsMax: number
  readonly batchRecordsMax: number
  /** One wait for records. */
  readonly pollMsMax: number
  /** Without a record or a move of the end for so long, reading fails loudly: longer than an open transaction lives. */
  readonly progressMsMax: number
  /** Longest wait for the leader of a partition: longer than a broker takes to start again on a busy machine. */
  readonly queryMsMax: number
  /** One try of such a call. */
  readonly callMsMax: number
  readonly retryPauseMs: number
  readonly closeMsMax: number
  /** First window of `lastRecords`; it doubles. */
  readonly scanWindowRecords: number
}

export const rangeReaderLimits: RangeReaderLimits = {
  connectMsMax: 30_000,
  batchRecordsMax: 2000,
  pollMsMax: 100,
  progressMsMax: 120_000,
  queryMsMax: 120_000,
  callMsMax: 5000,
  retryPauseMs: 50,
  closeMsMax: 10_000,
  scanWindowRecords: 64,
}

export interface RangeReaderOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  /** A group that may be described. None is joined; without one whose coordinator it may ask for, the client only grumbles. */
  readonly groupId?: string | undefined
  readonly settings?: ExtraSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<RangeReaderLimits>
}

export interface Range {
  readonly topic: string
  readonly partition: number
  /** First offset wanted; the log must still reach back to it. */
  readonly from: number | 'earliest'
  /**
   * Exclusive; `stable-end` is where committed readers stand when reading begins. `settled-end` is the end of all that is
   * written by then: transactions that are open, or whose marker is still on its way to this partition, are waited for.
   */
  readonly to: number | 'stable-end' | 'settled-end'
}

export interface RangeProgress {
  /** Next offset to read. */
  readonly position: number
  readonly to: number
  readonly records: number
}

export interface RangeReadOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: RangeProgress) => void
  /** `topic` column of the rows; 0 by default. */
  readonly topicIndex?: number
}

export interface LastRecordsOptions {
  readonly count?: number
  readonly accept?: (columns: RecordColumns, row: number) => boolean
  readonly settled?: boolean
  readonly signal?: AbortSignal
}

export interface RangeResult {
  readonly records: number
  /** Where to read on: no record before it is left out, none from it on was given. */
  readonly position: number
}

/**
 * Reads ranges of partitions outside any group, committed records only: for restore, replay and audit.
 *
 * Owns: one librdkafka consumer that joins no group and commits nothing. Ranges are read one after the other.
 * Invariants:
 * 1. A range ends when a record at or after `to` comes, or the partition's end is at or after `to`; positions skip
 *    transaction markers, aborted and compacted records, so no offset is ever waited for.
 * 2. It never waits for ever: `progressMsMax` without progress is an error that says where it stands.
 *    The stable end may lag a commit by some ms: the broker acknowledges before it writes the marker. Who must not miss
 *    the last transaction compares with the group's committed offsets, and reads again while these are ahead.
 * 3. A start that is not in the log is RESTORE_IMPOSSIBLE, never a jump.
 */
export class RangeReader {
  readonly #options: RangeReaderOptions
  readonly #limits: RangeReaderLimits
  readonly #driver: NativeConsumerDriver
  readonly #columns: RecordColumns
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: RangeReaderOptions) {
    this.#options = options
    this.#limits = { ...rangeReaderLimits, ...options.limits }
    this.#columns = new RecordColumns(this.#limits.batchRecordsMax)
    const configuration = toConfiguration(rangeReaderSettings, {
      'metadata.broker.list': options.brokers,
      ...(options.groupId === undefined ? {} : { 'group.id': options.groupId }),
      ...librdkafkaSecurity(options.security),
      ...options.settings,
    })
    const { brokers, security, clock, logger } = options
    this.#driver = new NativeConsumerDriver({
      brokers,
      security,
      clock,
      logger,
      configuration,
      topics: [],
      events: {
        onRebalance: () => undefined,
        onLog: () => undefined,
        onError: (error) => {
          if (!isPassing(error) && error.code !== kafkaCode.groupAuthorization) logger.log('warn', 'Kafka client error', { cause: error.message, code: error.code })
        },
      },
    })
  }

  async start(): Promise<void> {
    await this.#driver.connect(this.#limits.connectMsMax)
  }

  async close(): Promise<void> {
    await this.#turn.catch(() => undefined)
    await this.#driver.close(this.#limits.closeMsMax)
  }

  watermarks(topic: string, partition: number): Promise<Watermarks> {
    return withRetries(`asking for the ends of ${topic}/${partition}`, (leftMs) => queryWatermarks(this.#driver, topic, partition, leftMs), {
      limitMs: this.#limits.queryMsMax,
      tryMsMax: this.#limits.callMsMax,
      pauseMs: this.#limits.retryPauseMs,
      clock: this.#options.clock,
    })
  }

  /**
   * Gives the range's records in batches of at most `batchRecordsMax`, in order. The columns are reused: they are valid
   * until the promise that `onBatch` returned is fulfilled.
   * Errors: RESTORE_IMPOSSIBLE (`from` is before the start of the log), BROKER_UNAVAILABLE (no progress). A fired
   * `signal` ends it with the position reached.
   */
  readRange(range: Range, onBatch: (columns: RecordColumns) => void | Promise<void>, options: RangeReadOptions = {}): Promise<RangeResult> {
    const run = this.#turn.catch(() => undefined).then(() => this.#read(range, onBatch, options))
    this.#turn = run
    return run
  }

  /**
   * The last `count` committed records of a partition (of those that `accept` takes), oldest first; empty if there are none.
   * Scans back from the last stable offset in doubling windows, since the offsets there may be markers or aborted records.
   * With `settled` what is being committed there is waited for.
   */
  async lastRecords(
    topic: string,
    partition: number,
    options: LastRecordsOptions = {},
  ): Promise<RecordColumns> {
    const { count = 1, accept, signal, settled = false } = options
    const { low, stableEnd } = await this.watermarks(topic, partition)
    let to: Range['to'] = settled ? 'settled-end' : stableEnd
    for (let window = this.#limits.scanWindowRecords; ; window *= 2) {
      const from = Math.max(low, stableEnd - window)
      // A wider window is read whole again: simple, and at most twice the work.
      const last = new RecordColumns(count * 2, new Arena(scanArenaBytes))
      const { position } = await this.readRange({ topic, partition, from, to }, (columns) => keepLast(columns, last, count, accept), signal ? { signal } : {})
      to = position
      trim(last, count)
      if (last.count === count || from === low || signal?.aborted === true) return last
    }
  }

  async #read(range: Range, onBatch: (columns: RecordColumns) => void | Promise<void>, options: RangeReadOptions): Promise<RangeResult> {
    const { topic, partition } = range
    const { clock } = this.#options
    const { low, stableEnd } = await this.watermarks(topic, partition)
    const from = range.from === 'earliest' ? low : range.from
    let to = typeof range.to === 'number' ? range.to : stableEnd
    let unsettled = range.to === 'settled-end'
    if (from < low) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `${topic}/${partition} should be read from offset ${from}, but its log starts at ${low}`)
    }
    let position = from
    let records = 0
    if (from >= to && !unsettled) return { records, position }

    const columns = this.#columns
    this.#driver.setTopics([topic])
    this.#driver.assign([{ topic, partition, offset: from }])
    try {
      let progressAtMs = clock.monotonicMs()
      while ((position < to || unsettled) && options.signal?.aborted !== true) {
        columns.reset()
        const { eofs } = await this.#fetch(range, position, columns)
        const fetched = columns.count > 0 || eofs.length > 0
        const positionBefore = position
        position = keepRange(columns, { partition, position, to: unsettled ? Infinity : to, topicIndex: options.topicIndex ?? 0 })
        for (const eof of eofs) {
          if (eof.partition === partition && eof.topic === topic) position = Math.max(position, unsettled ? eof.offset : Math.min(eof.offset, to))
        }
        if (unsettled && fetched) {
          // What was fetched tells the high watermark, too, which does not stop at open transactions.
          to = Math.max(to, this.#driver.knownEnd(topic, partition) ?? 0)
          unsettled = false
        }
        if (columns.count > 0) {
          records += columns.count
          await onBatch(columns)
        }
        if (position > positionBefore) {
          progressAtMs = clock.monotonicMs()
          options.onProgress?.({ position, to, records })
        } else if (clock.monotonicMs() - progressAtMs > this.#limits.progressMsMax) {
          throw await this.#stuck(range, position, to)
        }
      }
    } finally {
      this.#driver.unassign()
    }
    return { records, position }
  }

  async #fetch(range: Range, position: number, columns: RecordColumns): Promise<DriverPoll> {
    const { batchRecordsMax, pollMsMax } = this.#limits
    const polled = await this.#driver.poll(columns, { recordsMax: batchRecordsMax, delayMsMax: pollMsMax, fillMsMax: 0 })
    for (const error of polled.errors) {
      if (error.code === kafkaCode.autoOffsetReset || error.code === kafkaCode.offsetOutOfRange) {
        throw asHarrierError('RESTORE_IMPOSSIBLE', `offset ${position} of ${range.topic}/${range.partition} is not in the log`, error)
      }
      // No group is joined, so nothing depends on its coordinator.
      const harmless = error.code === kafkaCode.groupAuthorization
      if (!harmless && !isPassing(error) && !error.isRetriable) throw asHarrierError('BROKER_UNAVAILABLE', `reading ${range.topic}/${range.partition} at offset ${position}`, error)
    }
    if (polled.errors.length > 0 && columns.count === 0) await this.#options.clock.sleep(this.#limits.retryPauseMs)
    return polled
  }

  async #stuck({ topic, partition }: Range, position: number, to: number): Promise<HarrierError> {
    const { progressMsMax } = this.#limits
    const where = `${topic}/${partition} gave nothing for ${progressMsMax} ms at offset ${position} of ${to}`
    const ends = await this.watermarks(topic, partition).catch(() => undefined)
    if (!ends) return new HarrierError('BROKER_UNAVAILABLE', where)
    if (position < ends.low) return new HarrierError('RESTORE_IMPOSSIBLE', `${where}, and its log starts at ${ends.low} by now`)
    if (ends.stableEnd < to) {
      return new HarrierError('BROKER_UNAVAILABLE', `${where}: an open transaction holds the stable end at ${ends.stableEnd}`, {
        remedy: 'the transaction of a dead process ends at its transaction.timeout.ms; starting that process again ends it at once. One that stays hangs: see docs/operations.md, "A transaction hangs"',
      })
    }
    return new HarrierError('BROKER_UNAVAILABLE', where)
  }
}

/**
 * Keeps the rows of a partition in [position, to), and returns the next position. What comes after the range is no part of it:
 * whoever reads on from the position wants it then.
 */
function keepRange(columns: RecordColumns, { partition, position, to, topicIndex }: { partition: number; position: number; to: number; topicIndex: number }): number {
  let kept = 0
  for (let row = 0; row < columns.count; row++) {
    const offset = columns.offset[row]!
    // The rest of a range before may still come.
    if (columns.partition[row] !== partition || offset < position) continue
    const isWanted = offset < to
    position = isWanted ? offset + 1 : to
    if (!isWanted) continue
    columns.moveRow(row, kept)
    columns.topic[kept++] = topicIndex
  }
  columns.count = kept
  return position
}

/** First size of the arenas that hold the few records of a scan. */
const scanArenaBytes = 64 << 10

function keepLast(from: RecordColumns, into: RecordColumns, count: number, accept?: (columns: RecordColumns, row: number) => boolean): void {
  for (let row = 0; row < from.count; row++) {
    if (accept && !accept(from, row)) continue
    if (into.count === into.recordsMax) trim(into, count)
    copyRow(from, row, into)
  }
}

/** Drops all but the last `count` rows. */
function trim(columns: RecordColumns, count: number): void {
  if (columns.count <= count) return
  const rest = new RecordColumns(count, new Arena(scanArenaBytes))
  for (let row = columns.count - count; row < columns.count; row++) copyRow(columns, row, rest)
  columns.reset()
  for (let row = 0; row < rest.count; row++) copyRow(rest, row, columns)
}

function copyRow(from: RecordColumns, row: number, into: RecordColumns): void {
  assert(from !== into, 'rows are copied between two columns')
  into.append(from.topic[row]!, from.partition[row]!, from.offset[row]!, from.timestamp[row]!, from.key(row), from.value(row))
  into.copyHeaders(from, row)
}
