import type { Clock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import type { Prng } from '../../src/base/prng.js'
import { Arena } from '../../src/base/arena.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { Assignment } from '../../src/consumer/assignment.js'
import type {
  AssignmentHandlers,
  CommittedOffset,
  GroupConsumer,
  PartitionProgress,
  PollOptions,
  TopicPartition,
  TopicPartitionOffset,
} from '../../src/consumer/group-consumer.js'
import type { Range, LastRecordsOptions, RangeReadOptions, RangeResult } from '../../src/consumer/range-reader.js'
import type { OutputPublisher } from '../../src/producer/output-publisher.js'
import type { TransactionalProducer } from '../../src/producer/transactional-producer.js'
import { appendTo, type MemoryBroker, type MemoryTransaction } from './memory-broker.js'
import type { GroupMember, MemoryGroup } from './memory-group.js'

/** What can happen to one commit. */
export type CommitFault = 'none' | 'aborted' | 'crash-before' | 'crash-after' | 'unknown-committed' | 'unknown-aborted' | 'timed-out'

/** What can happen to outputs that leave before their transaction: none of them arrived, some did, all did and the process died. */
export type PublishFault = 'none' | 'unpublished' | 'unacknowledged' | 'crash-published'

/** What the adapters of one process share: its clock stands still for ever once it has crashed. */
export interface ProcessWorld {
  readonly broker: MemoryBroker
  readonly group: MemoryGroup
  readonly clock: Clock
  readonly prng: Prng
  readonly instanceId: string
  isCrashed(): boolean
  crash(): void
  nextCommitFault(): CommitFault
  nextPublishFault(): PublishFault
}

interface Membership {
  readonly instanceId: string
  readonly generation: () => number
}

const retryMs = 20
const neverMs = new Promise<never>(() => undefined)

/** `GroupConsumer` over the memory broker, with the rules of src/consumer/rdkafka-group-consumer.ts. */
export class SimulatedConsumer implements GroupConsumer, GroupMember {
  readonly instanceId: string
  readonly #world: ProcessWorld
  readonly #topic: string
  readonly #handlers: AssignmentHandlers
  readonly #assignment: Assignment
  #generation = -1
  #revoking = 0
  #stopping = false
  #turn: Promise<void> = Promise.resolve()

  constructor(world: ProcessWorld, topic: string, handlers: AssignmentHandlers) {
    this.instanceId = world.instanceId
    this.#world = world
    this.#topic = topic
    this.#handlers = handlers
    this.#assignment = new Assignment([topic])
  }

  get membership(): Membership {
    return { instanceId: this.instanceId, generation: () => this.#generation }
  }

  get assignmentEpoch(): number {
    return this.#assignment.epoch
  }

  isAlive(): boolean {
    return !this.#world.isCrashed()
  }

  start(): Promise<void> {
    this.#generation = this.#world.group.join(this)
    return Promise.resolve()
  }

  assign(partitions: readonly number[]): void {
    void this.#enqueue(() => {
      if (this.#stopping) return Promise.resolve()
      const assigned = this.#named(partitions)
      this.#assignment.add(assigned)
      this.#handlers.onAssigned(assigned).catch((error: unknown) => this.#handlers.onFatal(error as HarrierError))
      return Promise.resolve()
    })
  }

  revoke(partitions: readonly number[]): Promise<void> {
    const revoked = this.#named(partitions)
    this.#assignment.close(revoked)
    this.#revoking++
    return this.#enqueue(async () => {
      if (!this.#stopping) await this.#handlers.onRevoked(revoked)
      this.#assignment.remove(revoked)
      this.#revoking--
    })
  }

  lose(partitions: readonly number[]): void {
    void this.#world.clock.sleep(this.#world.prng.below(300)).then(() => {
      this.#revoking++
      return this.#enqueue(async () => {
        const lost = this.#named(partitions)
        this.#assignment.remove(lost)
        if (!this.#stopping && lost.length > 0) await this.#handlers.onLost(lost)
        this.#revoking--
        if (!this.#stopping) this.#generation = this.#world.group.join(this)
      })
    })
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    const run = this.#turn.then(step)
    this.#turn = run.catch((error: unknown) => this.#handlers.onFatal(error as HarrierError))
    return run
  }

  #named(partitions: readonly number[]): TopicPartition[] {
    return partitions.map((partition) => ({ topic: this.#topic, partition }))
  }

  async poll(into: RecordColumns, { recordsMax, delayMsMax }: PollOptions): Promise<number> {
    const { clock, prng } = this.#world
    if (this.#revoking > 0 || this.#stopping) {
      await clock.sleep(Math.min(delayMsMax, retryMs))
      return 0
    }
    await clock.sleep(prng.below(4))
    let taken = this.#take(into, recordsMax)
    if (taken === 0 && delayMsMax > 0) {
      await clock.sleep(delayMsMax)
      taken = this.#take(into, recordsMax)
    }
    return taken
  }

  #take(into: RecordColumns, recordsMax: number): number {
    const { prng, broker } = this.#world
    if (this.#revoking > 0 || this.#stopping) return 0
    const states = this.#assignment.owned().filter(({ open, paused }) => open && !paused)
    if (states.length > 1 && prng.below(2) === 0) states.reverse()
    let left = Math.min(1 + prng.below(recordsMax), into.recordsMax - into.count)
    const before = into.count
    for (const state of states) {
      const count = Math.min(left, 1 + prng.below(recordsMax))
      for (const { offset, record } of broker.read(this.#topic, state.partition, state.position, state.position + count)) {
        appendTo(into, state.partition, offset, record)
        state.position = offset + 1
        left--
      }
    }
    return into.count - before
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const { topic, partition } of partitions) {
      const state = this.#assignment.get(topic, partition)
      if (state) state.paused = true
    }
  }

  async resume(partitions: readonly TopicPartition[]): Promise<void> {
    const fresh = partitions.filter(({ topic, partition }) => (this.#assignment.get(topic, partition)?.position ?? 0) < 0)
    for (const { topic, partition, offset } of await this.committed(fresh)) await this.seek({ topic, partition }, offset ?? 0)
    for (const { topic, partition } of partitions) {
      const state = this.#assignment.get(topic, partition)
      if (!state) continue
      state.open = true
      state.paused = false
    }
  }

  async seek({ topic, partition }: TopicPartition, offset: number): Promise<void> {
    const state = this.#assignment.get(topic, partition)
    if (!state) return
    const wasOpen = state.open
    state.open = false
    await this.#world.clock.sleep(this.#world.prng.below(3))
    if (this.#assignment.get(topic, partition) !== state) return
    state.position = offset
    state.open = wasOpen
  }

  assignment(): readonly TopicPartition[] {
    return this.#assignment.owned().map(({ topic, partition }) => ({ topic, partition }))
  }

  isOwnedSince(partition: TopicPartition, epoch: number): boolean {
    return this.#assignment.isOwnedSince(partition, epoch)
  }

  async committed(partitions: readonly TopicPartition[]): Promise<CommittedOffset[]> {
    const { clock, prng, broker } = this.#world
    await clock.sleep(prng.below(5))
    while (partitions.some(({ partition }) => broker.hasPendingOffset(partition))) await clock.sleep(retryMs)
    return partitions.map(({ topic, partition }) => ({ topic, partition, offset: broker.committed.get(partition) ?? null }))
  }

  progress(): PartitionProgress[] {
    return []
  }

  stop(): Promise<void> {
    this.#stopping = true
    return Promise.resolve()
  }
}

/** `TransactionalProducer` over the memory broker, with the faults of the schedule. */
export class SimulatedProducer implements TransactionalProducer {
  readonly transactionalId: string
  readonly #world: ProcessWorld
  #epoch = -1
  #open: MemoryTransaction | null = null
  /** Commits without an answer: every other one by the way of a limit. */
  #unknown = 0

  constructor(world: ProcessWorld, transactionalId: string) {
    this.#world = world
    this.transactionalId = transactionalId
  }

  async init(): Promise<void> {
    await this.#wait()
    this.#epoch = this.#world.broker.initProducer(this.transactionalId)
    this.#open = null
    await this.#untilMarked()
  }

  async begin(): Promise<void> {
    await this.#wait()
    this.#assertCurrent('beginning')
    await this.#untilMarked()
    this.#open = this.#world.broker.begin(this.transactionalId)
  }

  async send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    await this.#wait()
    this.#assertCurrent('producing')
    this.#world.broker.produce(this.#open!, columns, topics)
  }

  async sendOffsets(offsets: readonly TopicPartitionOffset[], consumer: Pick<GroupConsumer, 'membership'>): Promise<void> {
    await this.#wait()
    this.#assertCurrent('sending offsets')
    const { instanceId, generation } = consumer.membership as Membership
    if (!this.#world.group.isCurrent(instanceId, generation())) throw new HarrierError('TRANSACTION_ABORTED', 'sending offsets: illegal generation')
    for (const { partition, offset } of offsets) this.#open!.offsets.set(partition, offset)
  }

  async commit(): Promise<void> {
    const { broker } = this.#world
    await this.#wait()
    this.#assertCurrent('committing')
    const fault = this.#world.nextCommitFault()
    const end = (state: 'committed' | 'aborted'): void => {
      broker.end(this.transactionalId, this.#open!, state)
      this.#open = null
    }
    switch (fault) {
      case 'aborted':
        throw new HarrierError('TRANSACTION_ABORTED', 'committing: the coordinator gave up')
      case 'crash-before':
        this.#world.crash()
        return await neverMs
      case 'crash-after':
        end('committed')
        this.#world.crash()
        return await neverMs
      case 'unknown-committed':
        end('committed')
        // An abort would find nothing to abort, and say so to nobody: who takes that for an answer scores the batch twice.
        if (this.#unknown++ % 2 === 1) throw new HarrierError('BROKER_UNAVAILABLE', 'committing: no answer within the limit')
        broker.expireProducer(this.transactionalId)
        throw new HarrierError('FENCED', 'committing: the answer was lost')
      case 'unknown-aborted':
        end('aborted')
        broker.expireProducer(this.transactionalId)
        throw new HarrierError('FENCED', 'committing: the answer was lost')
      case 'timed-out':
        broker.expireProducer(this.transactionalId)
        this.#open = null
        throw new HarrierError('FENCED', 'committing: the transaction timed out')
      case 'none':
        end('committed')
    }
    await this.#wait()
  }

  async abort(): Promise<void> {
    await this.#wait()
    if (!this.#open) return
    this.#assertCurrent('aborting')
    this.#world.broker.end(this.transactionalId, this.#open, 'aborted')
    this.#open = null
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #assertCurrent(doing: string): void {
    if (this.#world.broker.isFenced(this.transactionalId, this.#epoch)) throw new HarrierError('FENCED', `${doing}: another producer has this id`)
  }

  async #untilMarked(): Promise<void> {
    while (this.#world.broker.isEnding(this.transactionalId)) await this.#world.clock.sleep(5)
  }

  async #wait(): Promise<void> {
    await this.#world.clock.sleep(this.#world.prng.below(4))
  }
}

/** `OutputPublisher` over the memory broker. */
export class SimulatedPublisher implements OutputPublisher {
  readonly #world: ProcessWorld

  constructor(world: ProcessWorld) {
    this.#world = world
  }

  async publish(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    const { broker, clock, prng } = this.#world
    await clock.sleep(prng.below(4))
    const fault = this.#world.nextPublishFault()
    const arrived = fault === 'unpublished' ? 0 : fault === 'unacknowledged' ? prng.below(columns.count + 1) : columns.count
    broker.produce(null, columns, topics, arrived)
    if (fault === 'crash-published') {
      this.#world.crash()
      return await neverMs
    }
    await clock.sleep(prng.below(4))
    if (fault !== 'none') throw new HarrierError('TRANSACTION_ABORTED', 'publishing before the transaction: no answer')
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** Columns whose arena is not a megabyte from the start. */
function smallColumns(rows: number): RecordColumns {
  return new RecordColumns(Math.max(1, rows), new Arena(1 << 12))
}

/** Reads committed ranges, a few records at a time and slowly, so that a restore can be cancelled in its middle. */
export class SimulatedReader {
  readonly #world: ProcessWorld

  constructor(world: ProcessWorld) {
    this.#world = world
  }

  async readRange(range: Range, onBatch: (columns: RecordColumns) => void | Promise<void>, options: RangeReadOptions = {}): Promise<RangeResult> {
    const { broker, clock, prng } = this.#world
    const { topic, partition } = range
    let position = range.from === 'earliest' ? 0 : range.from
    const to = typeof range.to === 'number' ? range.to : range.to === 'stable-end' ? broker.stableEnd(topic, partition) : broker.log(topic, partition).length
    let records = 0
    while (position < to && options.signal?.aborted !== true) {
      await clock.sleep(prng.below(10))
      const end = Math.min(to, position + 1 + prng.below(30))
      const columns = smallColumns(32)
      for (const { offset, record } of broker.read(topic, partition, position, end)) appendTo(columns, partition, offset, record)
      position = Math.min(end, broker.stableEnd(topic, partition))
      records += columns.count
      if (columns.count > 0) await onBatch(columns)
    }
    return { records, position }
  }

  async lastRecords(
    topic: string,
    partition: number,
    options: LastRecordsOptions = {},
  ): Promise<RecordColumns> {
    const { broker, clock, prng } = this.#world
    await clock.sleep(prng.below(10))
    const end = broker.log(topic, partition).length
    while (options.settled === true && broker.stableEnd(topic, partition) < end) {
      options.signal?.throwIfAborted()
      await clock.sleep(1 + prng.below(10))
    }
    const found = broker.read(topic, partition, 0, Infinity)
    const all = smallColumns(found.length)
    for (const { offset, record } of found) appendTo(all, partition, offset, record)
    const rows = found.map((_, row) => row).filter((row) => options.accept?.(all, row) ?? true)
    const last = smallColumns(rows.length)
    for (const row of rows.slice(-(options.count ?? 1))) last.copyRow(all, row)
    return last
  }
}
