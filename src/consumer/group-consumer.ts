import type { Clock } from '../base/clock.js'
import type { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { GroupMember } from './admin.js'
import type { KafkaSecurity } from '../connection/security.js'
import type { ExtraSettings } from './kafka-settings.js'

/**
 * The seam to Kafka on the way in. The engine knows only this file; `RdkafkaGroupConsumer` implements it over
 * librdkafka.
 *
 * Life of a partition:
 *
 *     assigned (paused) -- resume --> fetched <-- pause / resume --> paused
 *          |                             |
 *          +---- revoked or lost <-------+      ownership ends; its records no longer come
 */
export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface TopicPartitionOffset extends TopicPartition {
  /** The next offset to read. */
  readonly offset: number
}

export interface CommittedOffset extends TopicPartition {
  /** The group's stable committed offset; null when the group has committed none. */
  readonly offset: number | null
}

export interface PartitionProgress extends TopicPartition {
  /** The next offset that `poll` will give; null before the first `resume` or `seek`. */
  readonly position: number | null
  /** Last known end of the partition as a reader of committed records sees it; null before the first fetch. */
  readonly end: number | null
  /** Offsets between position and end; transaction markers count, so it may stay at a few when all is read. */
  readonly lag: number
}

/**
 * Called by the consumer, one rebalance at a time and never beside each other, except that `onAssigned` is not waited
 * for: restoring may take minutes, and a revocation in its middle must get through.
 */
export interface AssignmentHandlers {
  /** New partitions, paused. Restore, then `resume`. A rejection ends in `onFatal`. */
  onAssigned(partitions: readonly TopicPartition[]): Promise<void>
  /**
   * Partitions that go to another member once this promise is fulfilled. Inside: stop polling, commit or abort the open
   * transaction, drop the batch ahead. They are still owned until it is fulfilled.
   */
  onRevoked(partitions: readonly TopicPartition[]): Promise<void>
  /** Partitions that another member may own already: abort. They are not owned any more when this is called. */
  onLost(partitions: readonly TopicPartition[]): Promise<void>
  /** The consumer cannot go on: fenced, an offset out of range, a handler that failed. Nothing is polled afterwards. */
  onFatal(error: HarrierError): void
}

export interface PollOptions {
  readonly recordsMax: number
  /** Longest wait for the first record. */
  readonly delayMsMax: number
  /** Longest wait for more records once there is one; 0 (default) takes what is already here. */
  readonly fillMsMax?: number
}

export interface GroupConsumerLimits {
  readonly connectMsMax: number
  /** Longest wait for the stable committed offsets: longer than an open transaction of a dead process lives. */
  readonly committedMsMax: number
  /** Longest wait for the leader of a partition: longer than a broker takes to start again on a busy machine. */
  readonly seekMsMax: number
  /** One try of a call: where it stands is seen between two. */
  readonly callMsMax: number
  readonly stopMsMax: number
  readonly retryPauseMs: number
  /** How long the reason of a fatal error is waited for. */
  readonly fatalReasonMsMax: number
  /** How often positions are compared with the log, to find a partition that retention overtook, or that is not fetched any more. */
  readonly positionCheckIntervalMs: number
}

export const groupConsumerLimits: GroupConsumerLimits = {
  connectMsMax: 30_000,
  committedMsMax: 120_000,
  seekMsMax: 120_000,
  callMsMax: 5000,
  stopMsMax: 10_000,
  retryPauseMs: 20,
  fatalReasonMsMax: 100,
  positionCheckIntervalMs: 10_000,
}

/** The group as the broker knows it. */
export interface GroupView {
  /** Of the one topic that is read. */
  readonly partitions: number
  /** Who owns what; undefined while the group is not settled. */
  members(): Promise<readonly GroupMember[] | undefined>
}

export interface GroupConsumerOptions {
  readonly brokers: string
  readonly groupId: string
  readonly groupInstanceId: string
  /** Their order gives the topic index in `RecordColumns`. */
  readonly topics: readonly string[]
  readonly security?: KafkaSecurity | undefined
  readonly settings?: ExtraSettings
  /** Who looks after partitions that no member owns needs to see the group. Without it nobody does. */
  readonly group?: GroupView
  readonly handlers: AssignmentHandlers
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<GroupConsumerLimits>
}

export interface GroupConsumer {
  /** Connects and joins the group. Partitions come through `onAssigned` while `poll` is called. */
  start(): Promise<void>
  /**
   * Appends at most `recordsMax` records and returns how many. One poll at a time. During a revocation it gives none.
   * Must be called within `max.poll.interval.ms` of the last call, restoring or not.
   */
  poll(into: RecordColumns, options: PollOptions): Promise<number>
  /** Holds records back. Those that a poll under way has fetched still come. */
  pause(partitions: readonly TopicPartition[]): void
  /**
   * Lets records come, after `pause` or for the first time. A partition that was never sought starts at the group's
   * stable committed offset, or at the earliest record if there is none.
   * Errors: RESTORE_IMPOSSIBLE when the start is outside the log. Partitions no longer owned are passed over.
   */
  resume(partitions: readonly TopicPartition[]): Promise<void>
  /** The next `poll` after it gives records from `offset` on (after an abort, or at the end of a restore). */
  seek(partition: TopicPartition, offset: number): Promise<void>
  /** What this member owns now. */
  assignment(): readonly TopicPartition[]
  /** Counts every change of the assignment. Take it before `poll`, ask `isOwnedSince` before sending offsets. */
  readonly assignmentEpoch: number
  /** Whether the partition has been owned without a break since `epoch`. */
  isOwnedSince(partition: TopicPartition, epoch: number): boolean
  /** The group's stable committed offsets. Waits, within a limit, for an open transaction that holds them back. */
  committed(partitions: readonly TopicPartition[]): Promise<CommittedOffset[]>
  progress(): PartitionProgress[]
  /**
   * Ends. The caller has finished its transaction: `onRevoked` is not called. The static membership stays, so that a
   * restart within the session time-out gets its partitions back without a rebalance.
   */
  stop(): Promise<void>
  /** What the paired producer needs to send offsets with this member's identity; nobody else looks inside. */
  readonly membership: unknown
}
