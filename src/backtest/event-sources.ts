import { HarrierError } from '../base/errors.js'
import { RecordColumns } from '../base/record-columns.js'
import { connectLimits } from '../connection/security.js'
import { RangeReader } from '../consumer/range-reader.js'
import type { TableSource } from '../replay/table-source.js'
import { packTag } from '../topology/row-tag.js'
import type { Stage } from '../topology/stage.js'
import type { StageChain, Tags } from '../topology/stage-chain.js'
import { TableRecords } from '../topology/table-records.js'
import type { BacktestOptions, PartitionRange } from './backtest-options.js'
import { EventTimes } from './event-filter.js'
import { mergePartitions, type PartitionReader } from './merged-partitions.js'

/** Partitions that are read side by side, where their events have to be merged: each by a client of its own. */
export const mergedPartitionsMax = 32

/** Events [fromMs, toMs) are folded: the warm-up and the measured range. */
export interface FoldedTimes {
  readonly fromMs: number
  readonly toMs: number
}

export function foldedTimes({ sinceMs, untilMs, warmUpMs }: Pick<BacktestOptions, 'sinceMs' | 'untilMs' | 'warmUpMs'>): FoldedTimes {
  return { fromMs: warmUpMs === undefined || sinceMs === undefined ? -Infinity : sinceMs - warmUpMs, toMs: untilMs ?? Infinity }
}

/** Takes records into a chain, without those whose event times lie outside. */
class Intake {
  readonly #chain: StageChain
  readonly #times: EventTimes
  readonly #folded: FoldedTimes
  readonly #signal: AbortSignal
  readonly #onRead: (rows: number) => void

  constructor(chain: StageChain, first: Stage, folded: FoldedTimes, signal: AbortSignal, onRead: (rows: number) => void) {
    this.#chain = chain
    this.#times = new EventTimes(first)
    this.#folded = folded
    this.#signal = signal
    this.#onRead = onRead
  }

  async take(records: RecordColumns, tags: Tags): Promise<void> {
    this.#signal.throwIfAborted()
    const { fromMs, toMs } = this.#folded
    const rows = records.count
    if (fromMs === -Infinity && toMs === Infinity) await this.#chain.push(records, tags, 0, rows)
    else {
      const times = await this.times(records)
      let from = 0
      for (let row = 0; row <= rows; row++) {
        if (row < rows && !(times[row]! < fromMs || times[row]! >= toMs)) continue
        if (row > from) await this.#chain.push(records, tags, from, row)
        from = row + 1
      }
    }
    this.#onRead(rows)
  }

  times(records: RecordColumns): Promise<Float64Array> {
    return this.#times.of(records, this.#signal)
  }
}

/** Rows of a table, in its order. */
export async function readTable(table: TableSource, first: Stage, chain: StageChain, options: BacktestOptions, onRead: (rows: number) => void): Promise<void> {
  const intake = new Intake(chain, first, foldedTimes(options), options.signal, onRead)
  const taken = new TableRecords()
  for await (const chunk of table.chunks()) {
    taken.take(chunk)
    await intake.take(taken.records, taken.tags)
  }
  await chain.flush()
}

/** Records of a topic: partition after partition where nothing brings them together, else merged by event time. */
export async function readTopic(ranges: readonly PartitionRange[], partitions: number, first: Stage, chain: StageChain, options: BacktestOptions, onRead: (rows: number) => void): Promise<void> {
  const { from: topic, signal } = options
  const intake = new Intake(chain, first, foldedTimes(options), signal, onRead)
  const tagged = (columns: RecordColumns): Tags => Float64Array.from({ length: columns.count }, (_, row) => packTag({ ordinal: columns.offset[row]! * partitions + columns.partition[row]!, isFraud: null, scenario: null }))
  if (first.topology.forward === undefined) {
    const reader = await openReader(options)
    try {
      for (const range of ranges) {
        first.addTask(range.partition)
        await reader.readRange({ topic, ...range }, (columns) => intake.take(columns, tagged(columns)), { signal })
        signal.throwIfAborted()
        await chain.flush()
        // Memory holds the entities of one partition.
        first.dropTask(range.partition)
      }
    } finally {
      await reader.close()
    }
    return
  }
  if (ranges.length > mergedPartitionsMax) {
    throw new HarrierError('USAGE', `${topic} has ${ranges.length} partitions, of which events of several stages are merged; at most ${mergedPartitionsMax} are read side by side`, { remedy: 'give --stage and the topic between the stages, or a table' })
  }
  const readers: RangeReader[] = []
  try {
    for (let i = 0; i < ranges.length; i++) readers.push(await openReader(options))
    const partitionReaders = ranges.map((range, index): PartitionReader => async (take) => {
      first.addTask(range.partition)
      await readers[index]!.readRange({ topic, ...range }, async (columns) => {
        // A batch that waits for its turn must outlive the reader's own columns, and its decoding writes into its arena.
        const records = new RecordColumns(columns.count)
        for (let row = 0; row < columns.count; row++) records.copyRow(columns, row)
        const times = await intake.times(records)
        await take({ records, tags: tagged(records), times })
      }, { signal })
    })
    await mergePartitions(partitionReaders, (records, tags) => intake.take(records, tags))
    signal.throwIfAborted()
    await chain.flush()
  } finally {
    for (const reader of readers) await reader.close()
  }
}

/** A reader that joins no group, knows none, and commits nothing. */
export async function openReader({ connections, clock, logger }: Pick<BacktestOptions, 'connections' | 'clock' | 'logger'>): Promise<RangeReader> {
  if (!connections) throw new HarrierError('USAGE', 'a topic is to be read, and no brokers are known', { remedy: 'give --connection, or --brokers and --registry' })
  const { brokers, security } = connections
  const reader = new RangeReader({ brokers, security, clock, logger, ...connectLimits(connections) })
  await reader.start()
  return reader
}
