import assert from 'node:assert/strict'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import type { HarrierError } from '../../src/base/errors.js'
import { ConnectWatch } from '../../src/consumer/connect-watch.js'

// librdkafka logs no reason when its first failure comes before its log is read.
test('a client that says no reason is asked for none: the address itself tells whether it can be reached', async () => {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const failure = async (brokers: string): Promise<HarrierError> => {
    const error = await new ConnectWatch({ brokers, limitMs: 10, clock: systemClock }).failure({ code: -195, message: 'broker transport failure' })
    assert.equal(error.code, 'BROKER_UNAVAILABLE')
    return error
  }
  const listening = await failure(`127.0.0.1:${port}`)
  assert.match(listening.message, /within 10 ms: broker transport failure/)
  assert.match(listening.remedy, /may want TLS/)
  assert.match((await failure(`127.0.0.1:1,127.0.0.1:${port}`)).message, /broker transport failure/, 'one of them accepts connections')
  await new Promise((resolve) => server.close(resolve))
  const gone = await failure(`127.0.0.1:${port}`)
  assert.match(gone.message, /within 10 ms: connect ECONNREFUSED 127\.0\.0\.1:\d+/)
  assert.match(gone.remedy, /start the broker, or correct --brokers or `brokers` of the connection file/)
})
