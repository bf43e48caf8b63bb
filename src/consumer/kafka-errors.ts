import { HarrierError, messageOf, type ErrorCode } from '../base/errors.js'

/** Codes of librdkafka (negative) and of the protocol (positive) that are treated apart. */
export const kafkaCode = {
  purgedInFlight: -151,
  purgedFromQueue: -152,
  queueFull: -184,
  timedOut: -185,
  transport: -195,
  allBrokersDown: -187,
  resolve: -193,
  state: -172,
  waitCoordinator: -180,
  inProgress: -178,
  assignPartitions: -175,
  revokePartitions: -174,
  fatal: -150,
  brokerDestroyed: -137,
  maxPollExceeded: -147,
  partitionEof: -191,
  autoOffsetReset: -140,
  fenced: -144,
  noOffset: -168,
  unknownTopic: -188,
  unknownPartition: -190,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  networkException: 13,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  storageError: 56,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 76,
  messageTooLarge: 10,
  topicAuthorization: 29,
  groupAuthorization: 30,
  clusterAuthorization: 31,
  invalidProducerEpoch: 47,
  transactionalIdAuthorization: 53,
  fencedInstanceId: 82,
  unstableOffsetCommit: 88,
  producerFenced: 90,
} as const

/** An error of node-rdkafka as an Error with the flags that we rely on. */
export class KafkaError extends Error {
  override name = 'KafkaError'
  readonly code: number
  readonly isFatal: boolean
  readonly isRetriable: boolean
  readonly isTxnRequiresAbort: boolean

  constructor(code: number, message: string, flags: { isFatal?: boolean; isRetriable?: boolean; isTxnRequiresAbort?: boolean } = {}) {
    super(message)
    this.code = code
    this.isFatal = flags.isFatal === true
    this.isRetriable = flags.isRetriable === true
    this.isTxnRequiresAbort = flags.isTxnRequiresAbort === true
  }
}

export function toKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error
  const given = (typeof error === 'object' && error !== null ? error : {}) as Partial<KafkaError>
  const code = typeof given.code === 'number' ? given.code : typeof error === 'number' ? error : 0
  return new KafkaError(code, typeof given.message === 'string' ? given.message : messageOf(error), given)
}

const fencedCodes: ReadonlySet<number> = new Set([
  kafkaCode.fenced,
  kafkaCode.fencedInstanceId,
  kafkaCode.invalidProducerEpoch,
  kafkaCode.producerFenced,
])

const passingCodes: ReadonlySet<number> = new Set([
  kafkaCode.timedOut,
  kafkaCode.transport,
  kafkaCode.allBrokersDown,
  kafkaCode.resolve,
  kafkaCode.waitCoordinator,
  // The broker has left the cluster's metadata while a request was under way to it: the next finds the new leader.
  kafkaCode.brokerDestroyed,
  // A partition or a coordinator moves, or a broker has just started; librdkafka says of a single call that it cannot be retried.
  kafkaCode.leaderNotAvailable,
  kafkaCode.notLeader,
  kafkaCode.requestTimedOut,
  kafkaCode.networkException,
  kafkaCode.coordinatorLoading,
  kafkaCode.coordinatorNotAvailable,
  kafkaCode.notCoordinator,
  kafkaCode.storageError,
  kafkaCode.fencedLeaderEpoch,
  kafkaCode.unknownLeaderEpoch,
])

const deniedCodes: ReadonlySet<number> = new Set([kafkaCode.topicAuthorization, kafkaCode.groupAuthorization, kafkaCode.clusterAuthorization, kafkaCode.transactionalIdAuthorization])

/** The broker knows who we are and does not allow it. */
export function isDenied(error: KafkaError): boolean {
  return deniedCodes.has(error.code) || /authorization failed/i.test(error.message)
}

/** Another instance has this one's identity. */
export function isFenced(error: KafkaError): boolean {
  return fencedCodes.has(error.code) || /fenced/i.test(error.message)
}

/** node-rdkafka loses the code of errors that come as events. */
const lostCode = -1
const passingMessage = /broker connections are down|transport failure|timed out|resolve/i

/** A trouble of brokers or network that librdkafka goes on retrying by itself. */
export function isPassing(error: KafkaError): boolean {
  return (passingCodes.has(error.code) || (error.code === lostCode && passingMessage.test(error.message))) && !error.isFatal
}

/** The error with its Kafka code in the message; `code` says what it means for us, unless the broker does not allow it. */
export function asHarrierError(code: ErrorCode, doing: string, error: unknown, remedy?: string): HarrierError {
  if (error instanceof HarrierError && error.code === 'NOT_AUTHORIZED') return error
  const kafka = toKafkaError(error)
  if (isDenied(kafka)) return new HarrierError('NOT_AUTHORIZED', `${doing}: ${kafka.message} (Kafka code ${kafka.code})`, { cause: error })
  return new HarrierError(code, `${doing}: ${kafka.message} (Kafka code ${kafka.code})`, { cause: error, ...(remedy ? { remedy } : {}) })
}
