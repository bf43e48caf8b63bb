import { Condition } from '../../src/base/condition.js'
import type { Clock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import type { Logger } from '../../src/base/logger.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import type { GroupConsumer, TopicPartition } from '../../src/consumer/group-consumer.js'
import { RdkafkaGroupConsumer } from '../../src/consumer/rdkafka-group-consumer.js'
import { offsetsAfter } from '../../src/producer/raw-copy.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { TransactionalProducer } from '../../src/producer/transactional-producer.js'

export type CopyPoint = 'polled' | 'begun' | 'sent' | 'offsets' | 'committing' | 'committed'

export interface CopyLoopOptions {
  readonly brokers: string
  readonly input: string
  readonly output: string
  readonly groupId: string
  readonly instanceId: string
  readonly batchRecordsMax: number
  readonly clock: Clock
  readonly logger: Logger
  /** Called at each point of each batch; may kill the process. */
  readonly at?: (point: CopyPoint, batch: number) => void | Promise<void>
}

/** Two heartbeats. */
const twinNoticeMs = 3000
/** A batch that takes longer is waited for with empty polls. */
const heldMsMax = 500

/** The smallest engine that keeps the rules of revocation, loss and abort: what the crash and rebalance tests run. */
export class CopyLoop {
  readonly consumer: GroupConsumer
  readonly producer: TransactionalProducer
  readonly events: string[] = []
  readonly changed = new Condition()
  copied = 0
  aborts = 0
  fatal: HarrierError | undefined
  readonly #options: CopyLoopOptions
  readonly #next = new Map<number, number>()
  #holds = 0
  #parked = true
  #stopping = false

  constructor(options: CopyLoopOptions) {
    this.#options = options
    const { brokers, groupId, instanceId, clock, logger } = options
    this.producer = new RdkafkaTransactionalProducer({ brokers, transactionalId: `${groupId}-${instanceId}-0`, clock, logger })
    this.consumer = new RdkafkaGroupConsumer({
      brokers,
      groupId,
      groupInstanceId: `${groupId}-${instanceId}`,
      topics: [options.input],
      clock,
      logger,
      handlers: {
        onAssigned: (partitions) => this.#onAssigned(partitions),
        onRevoked: (partitions) => this.#hold('revoked', partitions),
        onLost: (partitions) => this.#hold('lost', partitions),
        onFatal: (error) => {
          this.fatal = error
          this.changed.notify()
        },
      },
    })
  }

  async run(): Promise<void> {
    await this.producer.init()
    await this.consumer.start()
    this.#note('started')
    const columns = new RecordColumns(this.#options.batchRecordsMax)
    for (let batch = 0; !this.#stopping && !this.fatal; ) {
      this.#parked = this.#holds > 0
      this.changed.notify()
      if (this.#parked) {
        await this.changed.until(() => this.#holds === 0 || this.#stopping || this.fatal !== undefined)
        continue
      }
      columns.reset()
      const epoch = this.consumer.assignmentEpoch
      const count = await this.consumer.poll(columns, { recordsMax: this.#options.batchRecordsMax, delayMsMax: 50 }).catch((error: unknown) => this.#failed(error))
      if (!count) continue
      await this.#whilePolling(this.#copy(columns, epoch, batch++).catch((error: unknown) => this.#recover(error)))
    }
    this.#parked = true
    this.changed.notify()
    await this.consumer.stop()
    await this.producer.close()
  }

  stop(): void {
    this.#stopping = true
    this.changed.notify()
  }

  async #copy(columns: RecordColumns, epoch: number, batch: number): Promise<void> {
    const { at = () => undefined, input, output } = this.#options
    await at('polled', batch)
    await this.producer.begin()
    await at('begun', batch)
    await this.producer.send(columns, [output])
    await at('sent', batch)
    const offsets = offsetsAfter(columns, [input])
    const lost = offsets.find((partition) => !this.consumer.isOwnedSince(partition, epoch))
    if (lost) throw new HarrierError('TRANSACTION_ABORTED', `partition ${lost.partition} is not owned any more`)
    await this.producer.sendOffsets(offsets, this.consumer)
    await at('offsets', batch)
    const commit = this.producer.commit()
    await at('committing', batch)
    await commit
    for (const { partition, offset } of offsets) this.#next.set(partition, offset)
    this.copied += columns.count
    this.changed.notify()
    await at('committed', batch)
  }

  async #recover(error: unknown): Promise<void> {
    if (!(error instanceof HarrierError)) return void this.#failed(error)
    this.aborts++
    this.#note(`${error.code} ${error.message}`)
    try {
      if (error.code !== 'TRANSACTION_ABORTED' || !(await this.#aborted())) await this.#startAnew()
      for (const partition of this.consumer.assignment()) {
        const next = this.#next.get(partition.partition)
        if (next !== undefined) await this.consumer.seek(partition, next)
      }
    } catch (failure) {
      this.#failed(failure)
    }
  }

  /** False when the broker has ended the transaction before us, or does not answer. */
  async #aborted(): Promise<boolean> {
    try {
      await this.producer.abort()
      return true
    } catch (failure) {
      if (failure instanceof HarrierError && (failure.code === 'FENCED' || failure.code === 'BROKER_UNAVAILABLE')) return false
      throw failure
    }
  }

  /** A commit may wait long for its broker. Who does not poll meanwhile hears nothing from the group, and answers it late. */
  async #whilePolling(work: Promise<void>): Promise<void> {
    const { clock } = this.#options
    const state = { ended: false }
    const ended = work.finally(() => (state.ended = true))
    if (await Promise.race([ended.then(() => true), clock.sleep(heldMsMax).then(() => false)])) return
    this.consumer.pause(this.consumer.assignment())
    const strays = new RecordColumns(1)
    while (!state.ended && !this.fatal) {
      strays.reset()
      await this.consumer.poll(strays, { recordsMax: 1, delayMsMax: 20 }).catch((error: unknown) => this.#failed(error))
    }
    await ended
    // Those that are on their way to their first record begin there by themselves.
    const known = this.consumer.assignment().filter(({ partition }) => this.#next.has(partition))
    try {
      for (const partition of known) await this.consumer.seek(partition, this.#next.get(partition.partition)!)
      await this.consumer.resume(known)
    } catch (failure) {
      this.#failed(failure)
    }
  }

  /** The broker was away for longer than a transaction lives. A twin would end our membership by now. */
  async #startAnew(): Promise<void> {
    await this.#options.clock.sleep(twinNoticeMs)
    if (this.fatal) return
    await this.producer.init()
    for (const { partition, offset } of await this.consumer.committed(this.consumer.assignment())) this.#next.set(partition, offset ?? 0)
  }

  async #onAssigned(partitions: readonly TopicPartition[]): Promise<void> {
    this.#note(`assigned ${names(partitions)}`)
    for (const { partition, offset } of await this.consumer.committed(partitions)) {
      // Positions before the first commit are needed too: an abort goes back to them.
      this.#next.set(partition, offset ?? 0)
    }
    await this.consumer.resume(partitions)
    this.#note(`resumed ${names(partitions)}`)
  }

  async #hold(how: string, partitions: readonly TopicPartition[]): Promise<void> {
    this.#note(`${how} ${names(partitions)}`)
    this.#holds++
    await this.changed.until(() => this.#parked || this.fatal !== undefined)
    for (const { partition } of partitions) this.#next.delete(partition)
    this.#holds--
    this.changed.notify()
  }

  #failed(error: unknown): number {
    this.fatal ??= error instanceof HarrierError ? error : new HarrierError('TRANSACTION_ABORTED', String(error), { cause: error })
    this.changed.notify()
    return 0
  }

  #note(event: string): void {
    this.events.push(event)
    this.#options.logger.log('info', event)
    this.changed.notify()
  }
}

function names(partitions: readonly TopicPartition[]): string {
  return partitions.map(({ partition }) => partition).sort().join(',')
}
