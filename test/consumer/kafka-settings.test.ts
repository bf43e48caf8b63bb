import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { groupConsumerSettings, producerSettings, rangeReaderSettings, recordBytesMax, recordProducerSettings, toConfiguration } from '../../src/consumer/kafka-settings.js'
import { producerLimits } from '../../src/producer/transactional-producer.js'
import { groupConsumerLimits } from '../../src/consumer/group-consumer.js'
import { rangeReaderLimits } from '../../src/consumer/range-reader.js'
import { kafkaSinkLimits } from '../../src/simulator/kafka-sink.js'
import { scoreGatewayLimits } from '../../src/topology/score-gateway.js'

/** message.timeout.ms of librdkafka. */
const messageTimeoutMsDefault = 300_000

const tables = { groupConsumerSettings, rangeReaderSettings, producerSettings, recordProducerSettings }

describe('Kafka settings', () => {
  it('each has a reason', () => {
    for (const table of Object.values(tables)) for (const { name, why } of table) assert.ok(why.length > 20, name)
  })

  it('the guarantees are set in each table', () => {
    for (const table of [groupConsumerSettings, rangeReaderSettings]) {
      const settings = toConfiguration(table)
      assert.equal(settings['isolation.level'], 'read_committed')
      assert.equal(settings['enable.auto.commit'], false)
      assert.equal(settings['auto.offset.reset'], 'error')
    }
    assert.equal(toConfiguration(groupConsumerSettings)['partition.assignment.strategy'], 'cooperative-sticky')
    for (const table of [producerSettings, recordProducerSettings]) {
      assert.equal(toConfiguration(table).acks, 'all')
      assert.equal(toConfiguration(table)['enable.idempotence'], true)
    }
  })

  it('limits stand in the right relation to each other', () => {
    const consumer = toConfiguration(groupConsumerSettings) as Record<string, number>
    const producer = toConfiguration(producerSettings) as Record<string, number>
    assert.ok(consumer['heartbeat.interval.ms']! * 3 <= consumer['session.timeout.ms']!)
    assert.ok(consumer['session.timeout.ms']! < consumer['max.poll.interval.ms']!)
    assert.ok(consumer['receive.message.max.bytes']! >= consumer['fetch.max.bytes']! + 512)
    assert.ok(consumer['fetch.max.bytes']! >= recordBytesMax)
    assert.ok(consumer['queued.max.messages.kbytes']! * 1024 >= recordBytesMax)
    assert.ok(producer['message.max.bytes']! === recordBytesMax)
    assert.ok(producer['queue.buffering.max.kbytes']! * 1024 >= 2 * recordBytesMax)
    // An open transaction of a dead process must not be taken for a stuck broker.
    const transactionMs = producer['transaction.timeout.ms']!
    assert.ok(groupConsumerLimits.committedMsMax > transactionMs)
    assert.ok(rangeReaderLimits.progressMsMax > transactionMs)
    assert.ok(producerLimits.retryMsMax > transactionMs)
    // What librdkafka still tries must not be told as given up.
    assert.ok(scoreGatewayLimits.deliveredMsMax > scoreGatewayLimits.messageMsMax)
    assert.ok(kafkaSinkLimits.ackMsMax > messageTimeoutMsDefault)
    assert.ok(producerLimits.callMsMax + producerLimits.overdueMsMax <= producerLimits.retryMsMax)
  })

  it('what the operator sets wins', () => {
    assert.equal(toConfiguration(producerSettings, { acks: 1 }).acks, 1)
  })
})
