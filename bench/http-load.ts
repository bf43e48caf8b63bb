import type { OutgoingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { systemClock } from '../src/base/clock.js'
import { LatencyHistogram } from '../src/base/latency-histogram.js'

/** A tick of the open loop; what is due by then is sent. */
const tickMs = 1
/** Requests without an answer; beyond them the load is not offered any more, and counted. */
const inFlightMax = 20_000

export interface Call {
  readonly path: string
  readonly headers: OutgoingHttpHeaders
  readonly body: Buffer
}

export interface LoadResult {
  /** Answers with status 200. */
  readonly answered: number
  readonly seconds: number
  /** Other answers, by status; 0 = none came. */
  readonly others: Readonly<Record<string, number>>
  /** From when a request was due (open loop) or sent (closed loop) to the end of its answer. */
  readonly latency: LatencyHistogram
}

/** One connection, kept, with one request at a time: the bytes of HTTP/1.1 and nothing else, since a client of more comfort costs more than the service. */
class Connection {
  readonly #socket: Socket
  #settled: ((status: number) => void) | undefined
  #head: Buffer | undefined
  #status = 0
  #bodyLeft = 0

  constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket.on('data', (bytes) => this.#take(bytes))
    this.#socket.on('error', () => undefined)
    this.#socket.once('close', () => this.#settle(0))
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  /** Resolves with the status of the answer, when all of it is here; 0 = none came. */
  send({ path, headers, body }: Call): Promise<number> {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}\r\n`).join('')
    this.#socket.cork()
    this.#socket.write(`POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines}content-length: ${body.length}\r\n\r\n`, 'latin1')
    this.#socket.write(body)
    this.#socket.uncork()
    return new Promise((resolve) => (this.#settled = resolve))
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(bytes: Buffer): void {
    if (this.#status !== 0) return this.#takeBody(bytes.length)
    const head = this.#head ? Buffer.concat([this.#head, bytes]) : bytes
    const end = head.indexOf('\r\n\r\n')
    this.#head = end < 0 ? head : undefined
    if (end < 0) return
    const text = head.toString('latin1', 0, end)
    const length = /^content-length: *(\d+)/im.exec(text)?.[1]
    // Each answer of the service says how long it is.
    if (length === undefined) return this.close()
    this.#status = Number(text.slice(9, 12))
    this.#bodyLeft = Number(length)
    this.#takeBody(head.length - end - 4)
  }

  #takeBody(bytes: number): void {
    this.#bodyLeft -= bytes
    if (this.#bodyLeft > 0) return
    const status = this.#status
    this.#status = 0
    this.#settle(status)
  }

  #settle(status: number): void {
    const settled = this.#settled
    this.#settled = undefined
    settled?.(status)
  }
}

class Load {
  readonly #port: number
  readonly #connectionsMax: number
  readonly #open = new Set<Connection>()
  readonly #idle: Connection[] = []
  readonly #waiting: ((connection: Connection) => void)[] = []
  readonly latency = new LatencyHistogram()
  readonly others: Record<string, number> = {}
  answered = 0
  inFlight = 0

  constructor(url: string, connections: number) {
    this.#port = Number(new URL(url).port)
    this.#connectionsMax = connections
  }

  async send(call: Call, dueMs: number, count: boolean): Promise<void> {
    this.inFlight++
    const connection = this.#free() ?? (await new Promise<Connection>((resolve) => this.#waiting.push(resolve)))
    const status = await connection.send(call)
    this.inFlight--
    if (count && status === 200) {
      this.answered++
      this.latency.add(systemClock.monotonicMs() - dueMs)
    } else if (status !== 200) this.others[status] = (this.others[status] ?? 0) + 1
    this.#giveBack(connection)
  }

  #free(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection; connection = this.#idle.pop()) {
      if (connection.isOpen) return connection
      this.#open.delete(connection)
    }
    return this.#open.size < this.#connectionsMax ? this.#connect() : undefined
  }

  #connect(): Connection {
    const connection = new Connection(this.#port)
    this.#open.add(connection)
    return connection
  }

  #giveBack(connection: Connection): void {
    const next = this.#waiting.shift()
    if (connection.isOpen) {
      if (next) next(connection)
      else this.#idle.push(connection)
      return
    }
    this.#open.delete(connection)
    next?.(this.#connect())
  }

  close(): void {
    for (const connection of this.#open) connection.close()
  }
}

export interface LoadOptions {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** The first seconds are not counted. */
  readonly warmUpSeconds: number
  readonly next: () => Call
}

/** Requests at their times, whether or not those before are answered: what waits behind a slow answer counts with its whole wait. */
export async function openLoop({ url, connections, seconds, warmUpSeconds, next, perSecond }: LoadOptions & { readonly perSecond: number }): Promise<LoadResult> {
  const load = new Load(url, connections)
  const startMs = systemClock.monotonicMs()
  const countFromMs = startMs + warmUpSeconds * 1000
  const endMs = countFromMs + seconds * 1000
  const running = new Set<Promise<void>>()
  let due = 0
  while (systemClock.monotonicMs() < endMs) {
    const nowMs = systemClock.monotonicMs()
    for (;;) {
      const dueMs = startMs + (due * 1000) / perSecond
      if (dueMs > nowMs) break
      due++
      if (load.inFlight >= inFlightMax) {
        load.others['not offered'] = (load.others['not offered'] ?? 0) + 1
        continue
      }
      const sent: Promise<void> = load.send(next(), dueMs, dueMs >= countFromMs).then(() => void running.delete(sent))
      running.add(sent)
    }
    await systemClock.sleep(tickMs)
  }
  await Promise.all(running)
  load.close()
  return { answered: load.answered, seconds, others: load.others, latency: load.latency }
}

/** So many clients, each of which sends its next request when it has its answer: the most that the service gives. */
export async function closedLoop({ url, connections, seconds, warmUpSeconds, next }: LoadOptions): Promise<LoadResult> {
  const load = new Load(url, connections)
  const countFromMs = systemClock.monotonicMs() + warmUpSeconds * 1000
  const endMs = countFromMs + seconds * 1000
  await Promise.all(Array.from({ length: connections }, async () => {
    for (let nowMs = systemClock.monotonicMs(); nowMs < endMs; nowMs = systemClock.monotonicMs()) await load.send(next(), nowMs, nowMs >= countFromMs)
  }))
  load.close()
  return { answered: load.answered, seconds, others: load.others, latency: load.latency }
}
