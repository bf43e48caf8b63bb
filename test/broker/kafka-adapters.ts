import type { GroupConsumer, GroupConsumerOptions } from '../../src/consumer/group-consumer.js'
import { RdkafkaGroupConsumer } from '../../src/consumer/rdkafka-group-consumer.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { ProducerOptions, TransactionalProducer } from '../../src/producer/transactional-producer.js'

/** An implementation of the Kafka seams; every one must pass the conformance and the crash tests. */
export interface KafkaAdapters {
  readonly name: string
  consumer(options: GroupConsumerOptions): GroupConsumer
  producer(options: ProducerOptions): TransactionalProducer
}

export const kafkaAdapters: Readonly<Record<string, KafkaAdapters>> = {
  rdkafka: {
    name: 'rdkafka',
    consumer: (options) => new RdkafkaGroupConsumer(options),
    producer: (options) => new RdkafkaTransactionalProducer(options),
  },
}
