import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { TopicFollower } from '../../src/consumer/topic-follower.js'
import { KafkaSink } from '../../src/simulator/kafka-sink.js'

/** Nobody listens there. */
const brokers = '127.0.0.1:1'

describe('connectTimeout of a connection', () => {
  const told = { code: 'BROKER_UNAVAILABLE', message: /within 1500 ms/ }

  it('is how long a follower of topics waits for a broker', async () => {
    await assert.rejects(new TopicFollower({ brokers, connectMsMax: 1500 }, systemClock).connect(), told)
  })

  it('is how long the simulator waits for a broker', async () => {
    const sink = KafkaSink.open({ brokers, connectMsMax: 1500, format: 'json', transactionsTopic: 'a', labelsTopic: 'b', clock: systemClock, epochMs: 0, labelDelayMs: 0 })
    await assert.rejects(sink, told)
  })
})
