import assert from 'node:assert/strict'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { NativeProducerDriver } from '../../src/producer/native-producer-driver.js'

const leaderNotAvailable = 5

/** Answers Metadata requests of version 0, and nothing else: a broker of which nobody can say which brokers there are, now and then. */
class FakeBroker {
  /** So many of the next answers name no broker. */
  silentAnswers = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor() {
    this.#server = createServer((socket) => this.#serve(socket))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this.#port
  }

  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.disconnect()
    this.#server.close()
  }

  get #port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => undefined)
    let pending = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      pending = Buffer.concat([pending, bytes])
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const size = pending.readInt32BE(0)
        this.#answer(socket, pending.subarray(4, 4 + size))
        pending = pending.subarray(4 + size)
      }
    })
  }

  /** https://kafka.apache.org/protocol#The_Messages_Metadata */
  #answer(socket: Socket, request: Buffer): void {
    assert.deepEqual([request.readInt16BE(0), request.readInt16BE(2)], [3, 0], 'a Metadata request of version 0')
    const isSilent = this.silentAnswers > 0
    if (isSilent) this.silentAnswers--
    const broker = [int32(1), text('127.0.0.1'), int32(this.#port)]
    const partition = isSilent ? [int16(leaderNotAvailable), int32(0), int32(-1), int32(0), int32(0)] : [int16(0), int32(0), int32(1), int32(1), int32(1), int32(1), int32(1)]
    const body = Buffer.concat([request.subarray(4, 8), isSilent ? int32(0) : Buffer.concat([int32(1), ...broker]), int32(1), int16(0), text('events'), int32(1), ...partition])
    socket.write(Buffer.concat([int32(body.length), body]))
  }
}

const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const text = (value: string): Buffer => Buffer.concat([int16(value.length), Buffer.from(value)])

/** Of so many clients one in eight stood still for good, before they looked for their brokers. */
const clients = 16
const asksAtOnce = 8

describe('a client whose broker has named no brokers', () => {
  const broker = new FakeBroker()
  let brokers = ''
  before(async () => {
    brokers = `127.0.0.1:${await broker.listen()}`
  })
  after(() => broker.close())

  it('finds it again, though librdkafka may have forgotten it', async () => {
    const settings = { 'api.version.request': false, 'broker.version.fallback': '0.9.0', 'reconnect.backoff.ms': 50, 'reconnect.backoff.max.ms': 200, 'topic.metadata.refresh.interval.ms': 300 }
    for (let index = 0; index < clients; index++) {
      const events = { onError: () => undefined, onLog: () => undefined }
      const driver = new NativeProducerDriver({ brokers, clock: systemClock, logger: silentLogger, configuration: { 'metadata.broker.list': brokers, ...settings }, events })
      await driver.connect(10_000)
      assert.equal(await driver.partitionCount('events', 5000), 1)
      broker.disconnect()
      broker.silentAnswers = 5
      await Promise.all(Array.from({ length: asksAtOnce }, () => driver.partitionCount('events', 3000).catch(() => 0)))
      broker.silentAnswers = 0
      const endMs = systemClock.monotonicMs() + 15_000
      let count = 0
      while (count !== 1 && systemClock.monotonicMs() < endMs) count = await driver.partitionCount('events', 1000).catch(() => 0)
      assert.equal(count, 1, `client ${index}`)
      await driver.close(2000)
    }
  })
})
