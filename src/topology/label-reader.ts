import type { Clock } from '../base/clock.js'
import { Condition } from '../base/condition.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { LabelQueue } from './label-queue.js'
import { copyOf } from './label-queue.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'

export interface LabelReaderOptions {
  readonly stage: Stage
  readonly reader: Pick<RangeReader, 'readRange' | 'close'>
  readonly topic: string
  readonly clock: Clock
  readonly logger: Logger
  /** Labels that are needed are not on the topic any more. */
  readonly onFatal: (error: HarrierError) => void
}

/** Between two looks at the end of the labels. */
const pollMs = 200
const retryPauseMs = 1000

/**
 * Reads the labels of this process's tasks ahead, into their queues. The first stage's key partitions labels as it does
 * events, but a cooperative assignor does not give the same partitions of two topics to one member: so labels are read by
 * partition number, beside the group, from where the lineage says.
 */
export class LabelReader {
  readonly #options: LabelReaderOptions
  readonly #pendingMax: number
  readonly #waitMsMax: number
  readonly #tasks = new Map<number, Task>()
  readonly #changed = new Condition()
  readonly #stopper = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #reading: { partition: number; stopper: AbortController } | undefined
  #isWanted = false

  constructor(options: LabelReaderOptions) {
    this.#options = options
    const { labelsPendingMax, inputIdleMsMax } = options.stage.topology.spec.limits
    this.#pendingMax = labelsPendingMax
    this.#waitMsMax = inputIdleMsMax
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopper.abort()
    this.#reading?.stopper.abort()
    await this.#running
    await this.#options.reader.close()
  }

  /** Labels of the task are read from where its queue stands. */
  attach(task: Task): void {
    this.#tasks.set(task.partition, task)
    this.#wake()
  }

  /** Its queue is left alone from here on. */
  detach(partition: number): void {
    this.#tasks.delete(partition)
    if (this.#reading?.partition === partition) this.#reading.stopper.abort()
  }

  /**
   * Waits until the labels that are known by `timeMs` have been read, as far as they are on the topic, but no longer than
   * `inputIdleMsMax`: a label that comes later takes effect then.
   */
  async covers(task: Task, timeMs: number, signal: AbortSignal): Promise<void> {
    const queue = task.labels!
    const { clock, logger } = this.#options
    const isCovered = (): boolean => queue.isAtEnd || queue.newestMs > timeMs || queue.pending >= this.#pendingMax || signal.aborted || this.#stopper.signal.aborted
    if (isCovered()) return
    this.#wake()
    if (!(await this.#changed.within(isCovered, this.#waitMsMax, clock))) logger.log('warn', 'events go on without labels that have not been read', { task: task.name, waitedMs: this.#waitMsMax })
  }

  #wake(): void {
    this.#isWanted = true
    this.#changed.notify()
  }

  async #run(): Promise<void> {
    const { clock, logger, onFatal } = this.#options
    const { signal } = this.#stopper
    while (!signal.aborted) {
      this.#isWanted = false
      try {
        for (const task of [...this.#tasks.values()]) if (!signal.aborted && this.#tasks.get(task.partition) === task) await this.#read(task)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof HarrierError && error.code === 'RESTORE_IMPOSSIBLE') return onFatal(error)
        logger.log('warn', 'labels cannot be read; trying again', { cause: messageOf(error) })
        await clock.sleep(retryPauseMs, signal)
      }
      await this.#changed.within(() => this.#isWanted || signal.aborted, pollMs, clock)
    }
  }

  async #read(task: Task): Promise<void> {
    const { reader, topic, stage } = this.#options
    const queue = task.labels!
    if (queue.pending >= this.#pendingMax) return
    const stopper = new AbortController()
    this.#reading = { partition: task.partition, stopper }
    try {
      const from = queue.readTo < 0 ? ('earliest' as const) : queue.readTo
      const take = async (columns: RecordColumns): Promise<void> => {
        if (stopper.signal.aborted) return
        await takeLabels(stage, queue, columns, stopper.signal)
        if (queue.pending >= this.#pendingMax) stopper.abort()
        this.#changed.notify()
      }
      const { position } = await reader.readRange({ topic, partition: task.partition, from, to: 'stable-end' }, take, { signal: stopper.signal })
      queue.isAtEnd = !stopper.signal.aborted
      if (queue.isAtEnd) queue.readTo = position
    } finally {
      this.#reading = undefined
      this.#changed.notify()
    }
  }
}

/** Decodes labels into a queue. The records are copied. */
export async function takeLabels({ labels: source, topology }: Stage, queue: LabelQueue, columns: RecordColumns, signal?: AbortSignal): Promise<void> {
  const chunk = copyOf(columns, topology.labels!.fields)
  const loading = source!.decoder.prepare(chunk.records, 0, signal)
  if (loading) await loading
  if (signal?.aborted) return
  source!.decoder.decode(chunk.records, chunk.labels)
  queue.add(chunk)
}
