import { Agent, request, type OutgoingHttpHeaders } from 'node:http'
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

class Load {
  readonly #agent: Agent
  readonly #port: number
  readonly latency = new LatencyHistogram()
  readonly others: Record<string, number> = {}
  answered = 0
  inFlight = 0

  constructor(url: string, connections: number) {
    this.#port = Number(new URL(url).port)
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, noDelay: true })
  }

  send({ path, headers, body }: Call, dueMs: number, count: boolean): Promise<void> {
    this.inFlight++
    return new Promise((resolve) => {
      const settled = (status: number): void => {
        this.inFlight--
        if (count && status === 200) {
          this.answered++
          this.latency.add(systemClock.monotonicMs() - dueMs)
        } else if (status !== 200) this.others[status] = (this.others[status] ?? 0) + 1
        resolve()
      }
      const sent = request({ host: '127.0.0.1', port: this.#port, method: 'POST', path, agent: this.#agent, headers: { ...headers, 'content-length': body.length } }, (answer) => {
        answer.resume()
        answer.once('end', () => settled(answer.statusCode ?? 0))
      })
      sent.once('error', () => settled(0))
      sent.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
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
