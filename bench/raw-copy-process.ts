import { Command } from 'commander'
import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import { RdkafkaGroupConsumer } from '../src/consumer/rdkafka-group-consumer.js'
import { rawCopy, resumeAtOnce } from '../src/producer/raw-copy.js'
import { RdkafkaTransactionalProducer } from '../src/producer/rdkafka-transactional-producer.js'
import { addConnectionOptions, configuredConnections } from '../src/stack/connections.js'

/** Copies a topic exactly once until it is killed: `node raw-copy-process.js INPUT OUTPUT GROUP BATCH`, then the connection options. */
const [input, output, group, batch, ...given] = process.argv.slice(2) as [string, string, string, string, ...string[]]
const { brokers, security } = configuredConnections(addConnectionOptions(new Command()).parse(given, { from: 'user' }).opts())!
const consumer: RdkafkaGroupConsumer = new RdkafkaGroupConsumer({
  brokers,
  security,
  groupId: group,
  groupInstanceId: `${group}-0`,
  topics: [input],
  handlers: resumeAtOnce(
    () => consumer,
    (error) => {
      throw error
    },
  ),
  clock: systemClock,
  logger: silentLogger,
})
const producer = new RdkafkaTransactionalProducer({ brokers, security, transactionalId: group, clock: systemClock, logger: silentLogger })
let stopping = false
process.on('SIGTERM', () => (stopping = true))
await producer.init()
await consumer.start()
await rawCopy({
  consumer,
  producer,
  inputs: [input],
  outputs: [output],
  batchRecordsMax: Number(batch),
  batchDelayMsMax: 100,
  clock: systemClock,
  isDone: () => stopping,
})
process.exit(0)
