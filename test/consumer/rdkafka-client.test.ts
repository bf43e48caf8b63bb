import assert from 'node:assert/strict'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { connectClient } from '../../src/consumer/rdkafka-client.js'

/** A client that cannot connect and logs no reason, as librdkafka does when its first failure comes before its log is read. */
function silentClient(): { getMetadata: () => void; on: () => void; off: () => void; connect: (options: object, done: (error: object) => void) => void } {
  return { getMetadata: () => undefined, on: () => undefined, off: () => undefined, connect: (_options, done) => done({ code: -195, message: 'broker transport failure' }) }
}

test('a client that says no reason is asked for none: the address itself tells whether it can be reached', async () => {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const failure = async (brokers: string): Promise<HarrierError> => {
    const error: unknown = await connectClient(silentClient() as never, { brokers, limitMs: 10, clock: systemClock, logger: silentLogger }).catch((thrown: unknown) => thrown)
    assert.ok(error instanceof HarrierError && error.code === 'BROKER_UNAVAILABLE', String(error))
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
