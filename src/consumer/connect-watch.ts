import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { KafkaSecurity } from '../connection/security.js'
import { unreachableReason } from '../connection/tcp-reach.js'
import { lastingTrouble, tlsRemedy, withoutNoise } from '../connection/trouble.js'
import { asHarrierError } from './kafka-errors.js'

export interface ConnectTarget {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  readonly limitMs: number
  readonly clock: Clock
}

export const connectLimits = {
  /** One wait for the first answer: nothing can stop it, and a process that ends waits for it. */
  tryMsMax: 1000,
  /** A refusal counts when it lasts so long: a broker that has just started may not know its users yet. */
  refusedMsMax: 2000,
} as const

/** What a client of librdkafka says while it connects, and when to give up. */
export class ConnectWatch {
  readonly #target: ConnectTarget
  readonly #endMs: number
  #said = ''
  #refusal: HarrierError | undefined
  #refusedAtMs = Infinity

  constructor(target: ConnectTarget) {
    this.#target = target
    this.#endMs = target.clock.monotonicMs() + target.limitMs
  }

  onLog(facility: string | undefined, message: string): void {
    if (facility !== 'FAIL' && facility !== 'ERROR') return
    this.#said = withoutNoise(message)
    const found = lastingTrouble(`the broker at ${this.#target.brokers}`, message)
    if (!found) return
    this.#refusal = found
    this.#refusedAtMs = Math.min(this.#refusedAtMs, this.#target.clock.monotonicMs())
  }

  /** The time-out of the next try, in ms. */
  get tryMs(): number {
    return Math.max(1, Math.ceil(Math.min(connectLimits.tryMsMax, this.#endMs - this.#target.clock.monotonicMs())))
  }

  get isOver(): boolean {
    const nowMs = this.#target.clock.monotonicMs()
    return nowMs >= this.#endMs || nowMs - this.#refusedAtMs >= connectLimits.refusedMsMax
  }

  /**
   * BROKER_UNAVAILABLE with what librdkafka said last, or the refusal: AUTHENTICATION_FAILED, CERTIFICATE_REFUSED, CONFIG_INVALID (no TLS there).
   * librdkafka logs a failure once in 30 s, and what it logs before its log is read is lost: then the address itself is tried.
   */
  async failure(error: unknown): Promise<HarrierError> {
    if (this.#refusal) return this.#refusal
    const { brokers, limitMs, security, clock } = this.#target
    const failed = asHarrierError('BROKER_UNAVAILABLE', `no broker answered at ${brokers} within ${limitMs} ms`, error)
    const reason = this.#said === '' ? await unreachableReason(brokers, clock) : this.#said
    const what = reason === '' ? failed.message : `no broker answered at ${brokers} within ${limitMs} ms: ${reason}`
    return new HarrierError(failed.code, what, { cause: error, ...(failed.code === 'BROKER_UNAVAILABLE' ? tlsRemedy(reason, security?.tls !== undefined) : { remedy: failed.remedy }) })
  }
}
