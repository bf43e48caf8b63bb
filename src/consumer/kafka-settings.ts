/** One librdkafka setting and why it has this value. The tables print themselves into the documentation. */
export interface KafkaSetting {
  readonly name: string
  readonly value: string | number | boolean
  readonly why: string
}

/** Further librdkafka settings, for measurements and tests; they win over the tables. */
export type ExtraSettings = Readonly<Record<string, string | number | boolean>>

/** The largest record that is read, carried as a dead letter and produced. */
export const recordBytesMax = 8 << 20

const connectionSettings: readonly KafkaSetting[] = [
  { name: 'client.id', value: 'harrier', why: 'names us in the logs and quotas of the broker' },
  { name: 'socket.nagle.disable', value: true, why: 'small requests of a transaction must not wait for an acknowledgement' },
  { name: 'reconnect.backoff.ms', value: 50, why: 'a broker that restarts is found again quickly' },
  { name: 'reconnect.backoff.max.ms', value: 2000, why: 'and one that stays away is not hammered' },
  { name: 'topic.metadata.refresh.interval.ms', value: 30_000, why: 'partitions added to a topic are noticed within half a minute' },
  { name: 'log_level', value: 4, why: 'warnings tell when the session was lost; less is noise' },
]

/** What each reader shares, whether it is a member of a group or reads ranges. */
const fetchSettings: readonly KafkaSetting[] = [
  { name: 'isolation.level', value: 'read_committed', why: 'aborted records are never read, and committed offsets are fetched stable only' },
  { name: 'enable.auto.commit', value: false, why: 'offsets are committed by the transaction that carries the scores' },
  { name: 'enable.auto.offset.store', value: false, why: 'nothing but the transaction may move an offset' },
  { name: 'allow.auto.create.topics', value: false, why: 'a misspelt topic is an error, not a new topic' },
  { name: 'check.crcs', value: true, why: 'a corrupt batch must not become a wrong score' },
  { name: 'fetch.min.bytes', value: 1, why: 'a single record is delivered at once: delay comes before large fetches' },
  { name: 'fetch.wait.max.ms', value: 100, why: 'an idle fetch parks at the broker; it answers as soon as there is a byte' },
  { name: 'fetch.message.max.bytes', value: 1 << 20, why: 'bytes of one partition in one fetch; a larger record still comes, alone' },
  { name: 'fetch.max.bytes', value: recordBytesMax * 2, why: 'bytes of one fetch over all partitions' },
  { name: 'receive.message.max.bytes', value: recordBytesMax * 2 + (1 << 20), why: 'must exceed fetch.max.bytes; also the guard against a garbage length' },
  { name: 'queued.min.messages', value: 20_000, why: 'read ahead ten batches of 2,000, not the 100,000 of the default' },
  { name: 'queued.max.messages.kbytes', value: 32_768, why: 'bounds the memory of the read-ahead (the default is 64 MB, and 1 GB in old versions)' },
  { name: 'fetch.queue.backoff.ms', value: 5, why: 'when the read-ahead was full the next fetch follows in 5 ms; the default of 1,000 makes pauses of a second' },
  { name: 'fetch.error.backoff.ms', value: 50, why: 'a partition that changes its leader is asked again soon' },
]

export const groupConsumerSettings: readonly KafkaSetting[] = [
  ...connectionSettings,
  ...fetchSettings,
  { name: 'partition.assignment.strategy', value: 'cooperative-sticky', why: 'partitions that stay go on being scored through a rebalance' },
  { name: 'session.timeout.ms', value: 6000, why: 'a dead process is noticed in 6 s; the smallest value brokers allow by default' },
  { name: 'heartbeat.interval.ms', value: 1500, why: 'four beats in a session; also how soon a live member learns of a rebalance' },
  { name: 'max.poll.interval.ms', value: 60_000, why: 'a hung engine gives its partitions away after a minute' },
  { name: 'auto.offset.reset', value: 'error', why: 'an offset that is gone is a loud error, never a silent jump' },
]

export const rangeReaderSettings: readonly KafkaSetting[] = [
  ...connectionSettings,
  ...fetchSettings,
  { name: 'group.id', value: 'harrier-range-reader', why: 'the client demands one; no group is joined and nothing is committed' },
  { name: 'auto.offset.reset', value: 'error', why: 'a range that is gone is a loud error' },
  { name: 'fetch.wait.max.ms', value: 10, why: 'the end of a partition is told by an empty fetch: it must not be parked' },
  { name: 'enable.partition.eof', value: true, why: 'ranges end on the end of the partition, never on a counted offset' },
]

/** What both kinds of producers share. */
const deliverySettings: readonly KafkaSetting[] = [
  { name: 'acks', value: 'all', why: 'a commit must survive the loss of a broker' },
  { name: 'enable.idempotence', value: true, why: 'a retry must not double a record' },
  { name: 'max.in.flight', value: 5, why: 'the most that keeps order with idempotence' },
  { name: 'batch.num.messages', value: 10_000, why: 'a partition\'s share of an engine batch goes in one request' },
  { name: 'batch.size', value: 1 << 20, why: 'the same bound, counted in bytes' },
  { name: 'compression.codec', value: 'lz4', why: 'a third of the bytes at little CPU' },
  { name: 'queue.buffering.max.messages', value: 100_000, why: 'bounds the records waiting for delivery; `send` waits when full' },
  { name: 'queue.buffering.max.kbytes', value: 131_072, why: 'the same bound, counted in bytes' },
  { name: 'message.max.bytes', value: recordBytesMax, why: 'a dead letter carries the original bytes' },
]

export const producerSettings: readonly KafkaSetting[] = [
  ...connectionSettings,
  ...deliverySettings,
  { name: 'transaction.timeout.ms', value: 10_000, why: 'an open transaction of a dead process blocks readers at most this long' },
  { name: 'connections.max.idle.ms', value: 15_000, why: 'a wait for a coordinator that has moved goes on only when some connection changes; on a quiet producer this one does' },
  { name: 'retry.backoff.max.ms', value: 20, why: 'tries of a transaction that waits for the markers of the one before stay close; one to a broker that is away waits for its connection anyway' },
  { name: 'retry.backoff.ms', value: 5, why: 'after CONCURRENT_TRANSACTIONS the next try comes in 5 ms: commits of 6-10 ms, not 107' },
  { name: 'linger.ms', value: 2, why: 'a batch is handed over at once and the commit flushes: waiting longer only delays' },
  { name: 'delivery.report.only.error', value: true, why: 'the commit acknowledges; a report for each record costs CPU' },
]

/** Of producers without transactions: the simulator, the score API, `harrier forget`, outputs that leave before their transaction. */
export const recordProducerSettings: readonly KafkaSetting[] = [
  ...connectionSettings,
  ...deliverySettings,
  { name: 'retry.backoff.ms', value: 50, why: 'a partition that changes its leader is tried again soon' },
  { name: 'linger.ms', value: 0, why: 'what is sent together goes together, and the flush after it waits for nothing' },
  { name: 'allow.auto.create.topics', value: false, why: 'a misspelt topic is an error, not a new topic' },
  { name: 'delivery.report.only.error', value: true, why: 'what failed is told; that nothing is under way any more acknowledges the rest' },
]

/** The table as a librdkafka configuration; `extra` wins. */
export function toConfiguration(table: readonly KafkaSetting[], extra: Record<string, unknown> = {}): Record<string, unknown> {
  return { ...Object.fromEntries(table.map(({ name, value }) => [name, value])), ...extra }
}
