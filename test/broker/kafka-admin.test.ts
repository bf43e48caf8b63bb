import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { uniqueSuffix } from '../../src/base/prng.js'
import { deadLetterTopicConfig, KafkaAdmin } from '../../src/consumer/admin.js'
import { recordBytesMax } from '../../src/consumer/kafka-settings.js'
import { startTestStack, type TestStack } from './test-stack.js'

describe('topic administration on a real broker', () => {
  let stack: TestStack
  let admin: KafkaAdmin

  before(async () => {
    stack = await startTestStack({ registry: false })
    admin = new KafkaAdmin({ brokers: stack.brokers, clock })
    await admin.start()
  })

  after(async () => {
    await admin.close()
    await stack.stop()
  })

  const isCode = (code: string, message: RegExp) => (error: unknown) => error instanceof HarrierError && error.code === code && message.test(error.message)

  it('names every topic that is missing, and creates them when told to', async () => {
    const [a, b] = [`a-${uniqueSuffix()}`, `b-${uniqueSuffix()}`]
    const wanted = [{ topic: a, partitions: 3 }, { topic: b, partitions: 2, config: { ...deadLetterTopicConfig, 'retention.ms': '-1' } }]
    await assert.rejects(admin.ensureTopics(wanted, { create: false }), isCode('TOPIC_MISSING', new RegExp(`${a} \\(3 partitions\\), ${b} \\(2 partitions\\)`)))
    assert.deepEqual(await admin.ensureTopics(wanted, { create: true }), { created: [a, b] })
    assert.deepEqual(await admin.ensureTopics(wanted, { create: false }), { created: [] })
    assert.deepEqual(await admin.partitionCounts([a, b, 'nowhere']), new Map([[a, 3], [b, 2]]))
    const { config, partitions, replication } = (await admin.describeTopic(b))!
    assert.deepEqual({ partitions, replication }, { partitions: 2, replication: 1 })
    assert.deepEqual([config['retention.ms'], config['cleanup.policy'], config['max.message.bytes']], ['-1', 'delete', String(recordBytesMax)])
    assert.deepEqual(await admin.ends(a), new Map([0, 1, 2].map((partition) => [partition, { low: 0, high: 0 }])))
  })

  it('refuses a topic with another number of partitions, whatever it may create', async () => {
    const topic = `t-${uniqueSuffix()}`
    await admin.ensureTopics([{ topic, partitions: 2 }], { create: true })
    await assert.rejects(admin.ensureTopics([{ topic, partitions: 4 }], { create: true }), isCode('TOPIC_MISMATCH', /has 2 partitions, and 4 are needed/))
  })

  it('deletes topics, and passes over those that are not there', async () => {
    const topic = `t-${uniqueSuffix()}`
    await admin.ensureTopics([{ topic, partitions: 1, config: { 'cleanup.policy': 'compact' } }], { create: true })
    assert.equal((await admin.describeTopic(topic))!.config['cleanup.policy'], 'compact')
    await admin.deleteTopics([topic, 'nowhere'])
    assert.equal((await admin.partitionCounts([topic])).size, 0)
  })

  it('tells that a group has committed nothing', async () => {
    const topic = `t-${uniqueSuffix()}`
    await admin.ensureTopics([{ topic, partitions: 2 }], { create: true })
    assert.deepEqual(await admin.committedOffsets('nobody', topic), new Map([[0, null], [1, null]]))
  })

  it('says which brokers do not answer', async () => {
    const nobody = new KafkaAdmin({ brokers: '127.0.0.1:1', clock, limits: { wakeMsMax: 500 } })
    await assert.rejects(nobody.start(), isCode('BROKER_UNAVAILABLE', /127\.0\.0\.1:1/))
    await nobody.close()
  })
})
