import type { GroupConsumer, GroupConsumerOptions } from '../../src/consumer/group-consumer.js'
import { kafkaClientNames, type KafkaClientName } from '../../src/consumer/kafka-client.js'
import { RangeReader, type RangeReaderOptions } from '../../src/consumer/range-reader.js'
import { RdkafkaGroupConsumer } from '../../src/consumer/rdkafka-group-consumer.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { ProducerOptions, TransactionalProducer } from '../../src/producer/transactional-producer.js'

/** An implementation of the Kafka seams; every one must pass the conformance and the crash tests. */
export interface KafkaAdapters {
  readonly name: KafkaClientName
  consumer(options: GroupConsumerOptions): GroupConsumer
  producer(options: ProducerOptions): TransactionalProducer
  reader(options: RangeReaderOptions): RangeReader
}

function adaptersOver(client: KafkaClientName): KafkaAdapters {
  return {
    name: client,
    consumer: (options) => new RdkafkaGroupConsumer({ ...options, client }),
    producer: (options) => new RdkafkaTransactionalProducer({ ...options, client }),
    reader: (options) => new RangeReader({ ...options, client }),
  }
}

/** By the name of the client. */
export const kafkaAdapters = Object.fromEntries(kafkaClientNames.map((name) => [name, adaptersOver(name)])) as Readonly<Record<KafkaClientName, KafkaAdapters>>
