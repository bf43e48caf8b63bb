import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { Assignment, type PartitionState } from './assignment.js'
import {
  groupConsumerLimits,
  type CommittedOffset,
  type GroupConsumer,
  type GroupConsumerLimits,
  type GroupConsumerOptions,
  type PartitionProgress,
  type PollOptions,
  type TopicPartition,
} from './group-consumer.js'
import { asHarrierError, isDenied, isFenced, isPassing, kafkaCode, KafkaError, toKafkaError } from './kafka-errors.js'
import { librdkafkaSecurity } from './kafka-security.js'
import { groupConsumerSettings, toConfiguration } from './kafka-settings.js'
import { LogBounds, partitionName } from './log-bounds.js'
import { NativeConsumerDriver } from './native-consumer-driver.js'
import { OrphanWatch } from './orphan-watch.js'
import { queryWatermarks, withRetries } from './kafka-calls.js'

/**
 * A member of a consumer group over librdkafka.
 *
 * Owns: one consumer driver, the assignment, and nothing of the records once they are copied.
 * Talks to: the engine, through `AssignmentHandlers`.
 * Invariants:
 * 1. Rebalances are handled one after the other; a revoked partition is given back only after `onRevoked` is fulfilled, a lost
 *    one before `onLost` is called.
 * 2. Records of a partition pass only while it is open (assignment.ts), whatever librdkafka still delivers.
 * 3. A partition starts where it was told to, or fails loudly; librdkafka never chooses an offset.
 * 4. No partition stays without an owner in a settled group (orphan-watch.ts).
 * 5. Group metadata fences dead members, not partitions: the owner of a batch asks `isOwnedSince` before it sends offsets.
 */
export class RdkafkaGroupConsumer implements GroupConsumer {
  readonly #options: GroupConsumerOptions
  readonly #limits: GroupConsumerLimits
  readonly #driver: NativeConsumerDriver
  readonly #assignment: Assignment
  readonly #bounds: LogBounds
  readonly #orphans: OrphanWatch | undefined
  #rebalances: Promise<void> = Promise.resolve()
  #revoking = 0
  #polling: Promise<unknown> | undefined
  #failed: HarrierError | undefined
  /** The reason of a fatal error comes in a log line after the error; until then nothing is polled. */
  #fatalSeen = false
  #fatalReason = ''
  #stopping = false
  #stopPositionCheck: () => void = () => undefined

  constructor(options: GroupConsumerOptions) {
    this.#options = options
    this.#limits = { ...groupConsumerLimits, ...options.limits }
    this.#assignment = new Assignment(options.topics)
    const configuration = toConfiguration(groupConsumerSettings, {
      'metadata.broker.list': options.brokers,
      'group.id': options.groupId,
      'group.instance.id': options.groupInstanceId,
      'client.id': options.groupInstanceId,
      ...librdkafkaSecurity(options.security),
      ...options.settings,
    })
    const { brokers, security, topics, clock, logger } = options
    this.#driver = new NativeConsumerDriver({
      brokers,
      security,
      clock,
      logger,
      configuration,
      topics,
      events: {
        onRebalance: (error, partitions, isLost) => this.#onRebalance(error, partitions, isLost),
        onError: (error) => this.#onClientError(error),
        onLog: (facility, message) => this.#onLog(facility, message),
      },
    })
    this.#bounds = new LogBounds(this.#driver, clock, this.#limits)
    const { group, groupInstanceId } = options
    this.#orphans = group && new OrphanWatch({ topic: topics[0]!, partitions: group.partitions, self: groupInstanceId, members: () => group.members(), rejoin: () => this.#rejoin(), clock, logger })
  }

  get membership(): unknown {
    return this.#driver.membership
  }

  get assignmentEpoch(): number {
    return this.#assignment.epoch
  }

  assignment(): readonly TopicPartition[] {
    return this.#assignment.owned().map(({ topic, partition }) => ({ topic, partition }))
  }

  isOwnedSince(partition: TopicPartition, epoch: number): boolean {
    return this.#assignment.isOwnedSince(partition, epoch)
  }

  async start(): Promise<void> {
    await this.#driver.connect(this.#limits.connectMsMax)
    this.#driver.subscribe()
    this.#stopPositionCheck = this.#options.clock.every(this.#limits.positionCheckIntervalMs, () => void this.#checkPositions())
    this.#orphans?.start()
  }

  async poll(into: RecordColumns, { recordsMax, delayMsMax, fillMsMax = 0 }: PollOptions): Promise<number> {
    assert(this.#polling === undefined, 'one poll at a time')
    if (this.#failed) throw this.#failed
    const { clock } = this.#options
    if (this.#revoking > 0 || this.#stopping || this.#fatalSeen) {
      // The handler of the revocation may be waiting for this very poll: give nothing, and do not spin.
      await clock.sleep(Math.min(delayMsMax, this.#limits.retryPauseMs))
      return 0
    }
    const room = Math.min(recordsMax, into.recordsMax - into.count)
    if (room <= 0) return 0
    const run = this.#fill(into, room, delayMsMax, fillMsMax)
    this.#polling = run
    try {
      return await run
    } finally {
      this.#polling = undefined
    }
  }

  async #fill(into: RecordColumns, recordsMax: number, delayMsMax: number, fillMsMax: number): Promise<number> {
    const before = into.count
    const { errors } = await this.#driver.poll(into, { recordsMax, delayMsMax, fillMsMax })
    for (const error of errors) this.#onConsumeError(error)
    return this.#keepOpen(into, before)
  }

  /** Drops the rows that may not pass, and moves the positions behind those that do. Returns how many these are. */
  #keepOpen(into: RecordColumns, from: number): number {
    const { topic, partition, offset } = into
    let kept = from
    let state: PartitionState | undefined
    for (let row = from; row < into.count; row++) {
      // Records come in runs of one partition: the lookup is needed once per run.
      if (row === from || partition[row] !== partition[row - 1] || topic[row] !== topic[row - 1]) state = this.#assignment.at(topic[row]!, partition[row]!)
      if (state === undefined || !state.open || offset[row]! < state.position) continue
      state.position = offset[row]! + 1
      into.moveRow(row, kept++)
    }
    into.count = kept
    return kept - from
  }

  pause(partitions: readonly TopicPartition[]): void {
    const states = this.#statesOf(partitions)
    for (const state of states) state.paused = true
    if (states.length > 0) this.#driver.pause(states)
  }

  async resume(partitions: readonly TopicPartition[]): Promise<void> {
    const fresh = this.#statesOf(partitions).filter(({ position }) => position < 0)
    await Promise.all(
      (await this.committed(fresh)).map(async ({ topic, partition, offset }) => {
        await this.seek({ topic, partition }, offset ?? (await this.#bounds.watermarks({ topic, partition })).low)
      }),
    )
    // Some may have been revoked meanwhile, and those that have come back since begin by a resume of their own.
    const states = this.#statesOf(partitions).filter(({ position }) => position >= 0)
    for (const state of states) {
      state.open = true
      state.paused = false
    }
    this.#resumeFetching(states)
  }

  async seek(partition: TopicPartition, offset: number): Promise<void> {
    const state = this.#assignment.get(partition.topic, partition.partition)
    if (!state) return
    await this.#bounds.checkStart(partition, offset)
    if (!this.#isCurrent(state)) return
    // Between here and the end nothing is fetched, so that a poll under way cannot bring records from before the seek
    // that look like records from after it, and no record from after it is dropped.
    const wasOpen = state.open
    state.open = false
    this.#driver.pause([state])
    await this.#seekPaused(state, offset)
    await this.#polling?.catch(() => undefined)
    if (!this.#isCurrent(state)) return
    state.position = offset
    state.open = wasOpen
    if (wasOpen && !state.paused) this.#resumeFetching([state])
  }

  /**
   * librdkafka's broker threads sleep up to a second when all they fetch was paused, and a resume does not wake them;
   * any request to the leader does.
   */
  #resumeFetching(states: readonly PartitionState[]): void {
    if (states.length === 0) return
    this.#driver.resume(states.map(({ topic, partition, position }) => ({ topic, partition, offset: position })))
    for (const { topic, partition } of states) queryWatermarks(this.#driver, topic, partition, this.#limits.callMsMax).catch(() => undefined)
  }

  async #seekPaused(state: PartitionState, offset: number): Promise<void> {
    const { topic, partition } = state
    try {
      await withRetries(`seeking ${partitionName(state)} to ${offset}`, (leftMs) => this.#driver.seek({ topic, partition, offset }, leftMs), {
        limitMs: this.#limits.seekMsMax,
        tryMsMax: this.#limits.callMsMax,
        pauseMs: this.#limits.retryPauseMs,
        clock: this.#options.clock,
        // Right after the assignment the partition is not yet started in librdkafka's own thread.
        retry: ({ code }) => (code === kafkaCode.state || code === kafkaCode.inProgress) && this.#isCurrent(state),
      })
    } catch (error) {
      if (this.#isCurrent(state)) throw error
    }
  }

  async committed(partitions: readonly TopicPartition[]): Promise<CommittedOffset[]> {
    if (partitions.length === 0) return []
    return withRetries(
      `fetching the committed offsets of group ${this.#options.groupId}`,
      (leftMs) => this.#driver.committed(partitions, leftMs),
      {
        limitMs: this.#limits.committedMsMax,
        tryMsMax: this.#limits.callMsMax,
        pauseMs: this.#limits.retryPauseMs,
        clock: this.#options.clock,
        retry: ({ code }) => code === kafkaCode.unstableOffsetCommit,
      },
    )
  }

  progress(): PartitionProgress[] {
    return this.#assignment.owned().map(({ topic, partition, position }) => {
      const end = this.#bounds.lastKnownEnd({ topic, partition })
      return { topic, partition, position: position < 0 ? null : position, end, lag: position < 0 || end === null ? 0 : Math.max(0, end - position) }
    })
  }

  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#stopPositionCheck()
    this.#orphans?.stop()
    await this.#polling?.catch(() => undefined)
    const ended = new AbortController()
    await Promise.race([this.#rebalances, this.#options.clock.sleep(this.#limits.stopMsMax, ended.signal)])
    ended.abort()
    await this.#driver.close(this.#limits.stopMsMax)
  }

  /** Partitions are revoked in order, then the group shares all of them out without us and again with us. */
  #rejoin(): void {
    this.#driver.unsubscribe()
    this.#driver.subscribe()
  }

  #onRebalance(error: KafkaError, partitions: readonly TopicPartition[], isLost: boolean): void {
    if (this.#stopping) {
      // The close of librdkafka waits for this answer.
      if (error.code === kafkaCode.revokePartitions) this.#giveBack(partitions)
      return
    }
    if (error.code === kafkaCode.assignPartitions) {
      this.#enqueue(() => this.#assign(partitions))
    } else if (error.code === kafkaCode.revokePartitions) {
      this.#revoking++
      this.#assignment.close(partitions)
      this.#enqueue(() => this.#revoke(partitions, isLost).finally(() => this.#revoking--))
    } else {
      this.#options.logger.log('warn', 'rebalance failed; the group tries again', { cause: error.message, code: error.code })
    }
  }

  #enqueue(step: () => Promise<void>): void {
    this.#rebalances = this.#rebalances.then(step).catch((error: unknown) => this.#fail(asHarrierError('BROKER_UNAVAILABLE', 'a rebalance failed', error)))
  }

  #assign(partitions: readonly TopicPartition[]): Promise<void> {
    // The offset is a stand-in: the partition stays paused and closed until `resume` or `seek` says where it starts.
    this.#driver.incrementalAssign(partitions.map(({ topic, partition }) => ({ topic, partition, offset: offsetBeginning })))
    if (partitions.length === 0) return Promise.resolve()
    this.#driver.pause(partitions)
    this.#assignment.add(partitions)
    this.#options.handlers.onAssigned(partitions).catch((error: unknown) => {
      this.#fail(error instanceof HarrierError ? error : asHarrierError('RESTORE_IMPOSSIBLE', 'taking over partitions failed', error))
    })
    return Promise.resolve()
  }

  async #revoke(partitions: readonly TopicPartition[], isLost: boolean): Promise<void> {
    const { handlers, logger } = this.#options
    // Answered at once, before the engine has let go: until then librdkafka beats on under an empty member id, and a
    // coordinator that comes back meanwhile takes that for a twin and fences us. What is assigned next waits for its turn here.
    if (isLost) this.#giveBack(partitions)
    try {
      if (partitions.length > 0) await (isLost ? handlers.onLost(partitions) : handlers.onRevoked(partitions))
    } catch (error) {
      logger.log('error', 'the engine failed while partitions were revoked', { cause: toKafkaError(error).message })
      this.#fail(error instanceof HarrierError ? error : asHarrierError('TRANSACTION_ABORTED', 'giving partitions back failed', error))
    } finally {
      await this.#polling?.catch(() => undefined)
      if (!isLost) this.#giveBack(partitions)
    }
  }

  #giveBack(partitions: readonly TopicPartition[]): void {
    this.#assignment.remove(partitions)
    this.#driver.incrementalUnassign(partitions)
  }

  #onConsumeError(error: KafkaError): void {
    if (error.code === kafkaCode.maxPollExceeded) {
      this.#options.logger.log('warn', 'the engine did not poll in time; its partitions are lost', { cause: error.message })
    } else if (error.code === kafkaCode.autoOffsetReset || error.code === kafkaCode.offsetOutOfRange) {
      this.#fail(asHarrierError('RESTORE_IMPOSSIBLE', 'the next offset to read is not in the log any more', error))
    } else if (isDenied(error)) {
      this.#onDenied(error)
    } else if (error.isFatal || error.code === kafkaCode.fatal || isFenced(error)) {
      this.#onFatalError(error)
    } else if (!isPassing(error)) {
      this.#options.logger.log('warn', 'reading from Kafka failed; it is tried again', { cause: error.message, code: error.code })
    }
  }

  #onClientError(error: KafkaError): void {
    if (isDenied(error)) this.#onDenied(error)
    else if (error.isFatal || error.code === kafkaCode.fatal || isFenced(error)) this.#onFatalError(error)
    else if (!isPassing(error)) this.#options.logger.log('warn', 'Kafka client error', { cause: error.message, code: error.code })
  }

  #onLog(fac: string, message: string): void {
    if (fac === 'FATAL') this.#fatalReason = message
    this.#options.logger.log('debug', 'librdkafka', { fac, message })
  }

  #onDenied(error: KafkaError): void {
    const { groupId, topics } = this.#options
    this.#fail(asHarrierError('NOT_AUTHORIZED', `reading ${topics.join(', ')} as group ${groupId}`, error))
  }

  #onFatalError(error: KafkaError): void {
    if (this.#fatalSeen) return
    this.#fatalSeen = true
    const { clock, groupId, groupInstanceId } = this.#options
    void clock.sleep(this.#limits.fatalReasonMsMax).then(() => {
      const told = new KafkaError(error.code, this.#fatalReason || error.message, { isFatal: true })
      if (isFenced(told)) this.#fail(asHarrierError('FENCED', `another process has joined group ${groupId} as ${groupInstanceId}`, told))
      else this.#fail(asHarrierError('BROKER_UNAVAILABLE', `the membership in group ${groupId} ended`, told))
    })
  }

  #fail(error: HarrierError): void {
    if (this.#failed || this.#stopping) return
    this.#failed = error
    this.#options.handlers.onFatal(error)
  }

  /**
   * Finds a partition that retention has overtaken while it was paused, and one that librdkafka has stopped fetching: after brokers stood
   * still for seconds that was seen once. It is set going again where it stands.
   */
  async #checkPositions(): Promise<void> {
    for (const state of this.#assignment.owned()) {
      if (!state.open || this.#stopping) continue
      try {
        const { overtaken, isHeldUp } = await this.#bounds.compare(state)
        if (overtaken) this.#fail(overtaken)
        else if (isHeldUp && this.#isCurrent(state)) {
          this.#options.logger.log('debug', 'a partition does not move although there is more; it is fetched anew', { partition: partitionName(state), offset: state.position })
          this.#resumeFetching([state])
        }
      } catch (error) {
        this.#options.logger.log('debug', 'the positions could not be checked', { cause: toKafkaError(error).message })
      }
    }
  }

  #isCurrent(state: PartitionState): boolean {
    return this.#assignment.get(state.topic, state.partition) === state
  }

  #statesOf(partitions: readonly TopicPartition[]): PartitionState[] {
    return partitions.map(({ topic, partition }) => this.#assignment.get(topic, partition)).filter((state) => state !== undefined)
  }
}

const offsetBeginning = -2
