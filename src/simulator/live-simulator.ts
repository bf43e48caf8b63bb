import { setImmediate as nextTurn } from 'node:timers/promises'
import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import { LabelCursor, type LabelChoice } from './label-cursor.js'
import { Pacer, type Pace } from './pacer.js'
import { secondsPerDay } from './parameters.js'
import { clampDays, type DayRange, type TransactionChunk, type TransactionSource } from './transaction-source.js'
import { TransactionTable } from './transaction-table.js'

/** Where transactions and labels go. `false` means full: nothing was taken, try again a little later. */
export interface SimulatorSink {
  sendTransaction(chunk: TransactionChunk, row: number): boolean
  sendLabel(chunk: TransactionChunk, row: number): boolean
  /** Lets answers of the broker in; throws what went wrong since. */
  poll(): void
  /** Resolves when all that was sent is acknowledged; rejects after `limitMs`. */
  flush(limitMs: number): Promise<void>
  close(): Promise<void>
  /** Records, labels included, that are known to be acknowledged; exact after `flush`. */
  readonly acked: number
}

export interface LiveSimulatorOptions {
  readonly source: TransactionSource
  readonly sink: SimulatorSink
  readonly clock: Clock
  /** Wall-clock time of the beginning of day 0, ms since 1970. */
  readonly epochMs: number
  readonly range?: Partial<DayRange>
  /** So many days of event time go at full speed before the pace begins. */
  readonly fastForwardDays?: number
  readonly pace: Pace
  /** Stops after so many transactions, those of the fast-forward included. */
  readonly eventsMax?: number
  readonly labels: LabelChoice
  readonly labelDelayMs: number
}

export type LivePhase = 'fast-forward' | 'paced' | 'ended'

export interface LiveCounters {
  readonly phase: LivePhase
  /** Transactions handed to the producer. */
  readonly sent: number
  readonly labelsSent: number
  /** Frauds among the transactions that were sent. */
  readonly fraudsSent: number
  /** Transactions and labels that the broker has acknowledged. */
  readonly acked: number
  /** Event time of the newest transaction, ms since 1970; the beginning of the range before the first. */
  readonly eventTimeMs: number
}

export const liveLimits = {
  /** Records between two turns of the event loop. */
  burstRecordsMax: 1000,
  queueFullPauseMs: 2,
  /** Pauses of the pace are at least so long: fewer and larger bursts, less CPU. */
  paceQuantumMs: 5,
  /** The last records have so long to be acknowledged; after `stop` not so long. */
  flushMsMax: 30_000,
  stopFlushMsMax: 3000,
  /** With a generator that keeps no table: so many of the newest frauds are remembered as the truth. */
  recentFraudsMax: 1_000_000,
} as const

/**
 * Plays transactions and their labels into a sink, in the order of event time.
 *
 * Owns: the sink (closes it) and two readers of the source. Talks to: the clock, for pace and pauses.
 * Invariants:
 * 1. A label is sent before the first transaction whose event time has reached its `known_at`, and never before its own.
 * 2. Between two turns of the event loop at most `burstRecordsMax` records are sent.
 * 3. `done` settles once, after everything that was sent is acknowledged or the sink failed, and the sink is closed.
 */
export class LiveSimulator {
  readonly done: Promise<LiveCounters>
  readonly #options: LiveSimulatorOptions
  readonly #range: DayRange
  readonly #pacer: Pacer
  readonly #labels: LabelCursor
  readonly #stopping = new AbortController()
  readonly #recentFrauds = new Map<number, number>()
  readonly #paceFromSeconds: number
  #phase: LivePhase = 'fast-forward'
  #sent = 0
  #labelsSent = 0
  #fraudsSent = 0
  #eventSeconds: number
  #waitMs = 0

  /** Begins at once. */
  constructor(options: LiveSimulatorOptions) {
    this.#options = options
    this.#range = clampDays(options.range ?? {}, options.source.parameters.days)
    this.#eventSeconds = this.#range.fromDay * secondsPerDay
    this.#paceFromSeconds = (this.#range.fromDay + (options.fastForwardDays ?? 0)) * secondsPerDay
    this.#pacer = new Pacer(options.pace, options.clock)
    this.#labels = new LabelCursor(options.source, this.#range, options.labels, options.labelDelayMs / 1000)
    this.done = this.#play()
    // Whoever awaits `done` sees a failure; until then it must not end the process as unhandled.
    this.done.catch(() => undefined)
  }

  get counters(): LiveCounters {
    return {
      phase: this.#phase,
      sent: this.#sent,
      labelsSent: this.#labelsSent,
      fraudsSent: this.#fraudsSent,
      acked: this.#options.sink.acked,
      eventTimeMs: this.#options.epochMs + this.#eventSeconds * 1000,
    }
  }

  /** The truth about a transaction that was sent. With a generator without a table: about the newest frauds. */
  isFraud(txId: number): boolean {
    return this.scenarioOf(txId) > 0
  }

  /** 0 genuine; 1, 2, 3 the scenario of fraud. */
  scenarioOf(txId: number): number {
    const { source } = this.#options
    return (source instanceof TransactionTable ? source.scenario[txId] : this.#recentFrauds.get(txId)) ?? 0
  }

  /** Sends nothing more; resolves when what was sent is acknowledged. */
  async stop(): Promise<LiveCounters> {
    this.#stopping.abort()
    return await this.done
  }

  async #play(): Promise<LiveCounters> {
    const { source, sink } = this.#options
    try {
      for (const chunk of source.chunks(this.#range)) {
        let row = 0
        do {
          row = this.#burst(chunk, row)
          await this.#pause()
        } while (row < chunk.count && !this.#isOver())
        if (this.#isOver()) break
      }
      while (!this.#stopping.signal.aborted && !this.#sendDueLabels()) await this.#pause()
      await sink.flush(this.#stopping.signal.aborted ? liveLimits.stopFlushMsMax : liveLimits.flushMsMax)
    } finally {
      this.#phase = 'ended'
      await sink.close()
    }
    return this.counters
  }

  #isOver(): boolean {
    return this.#stopping.signal.aborted || this.#sent >= (this.#options.eventsMax ?? Infinity)
  }

  /** Sends rows until something asks for a pause; returns the next row. */
  #burst(chunk: TransactionChunk, from: number): number {
    const { sink } = this.#options
    this.#waitMs = 0
    const end = Math.min(chunk.count, from + liveLimits.burstRecordsMax)
    for (let row = from; row < end; row++) {
      if (this.#isOver()) return row
      const seconds = chunk.seconds[row]!
      if (this.#mustWait(seconds)) return row
      this.#eventSeconds = seconds
      if (!this.#sendDueLabels()) return row
      if (!sink.sendTransaction(chunk, row)) {
        this.#waitMs = liveLimits.queueFullPauseMs
        return row
      }
      this.#countSent(chunk, row)
    }
    return end
  }

  #mustWait(seconds: number): boolean {
    if (this.#phase === 'fast-forward') {
      if (seconds < this.#paceFromSeconds) return false
      this.#phase = 'paced'
      this.#pacer.begin(seconds)
    }
    const waitMs = this.#pacer.waitMs(seconds)
    if (waitMs <= 0) return false
    this.#waitMs = Math.max(waitMs, liveLimits.paceQuantumMs)
    return true
  }

  #countSent(chunk: TransactionChunk, row: number): void {
    this.#sent++
    this.#pacer.sent()
    if (chunk.isFraud[row] === 0) return
    this.#fraudsSent++
    if (this.#options.source instanceof TransactionTable) return
    const frauds = this.#recentFrauds
    if (frauds.size >= liveLimits.recentFraudsMax) for (const oldest of frauds.keys()) if (frauds.delete(oldest)) break
    frauds.set(chunk.firstId + row, chunk.scenario[row]!)
  }

  /** Sends the labels that are known by now; false when a pause has to come first. */
  #sendDueLabels(): boolean {
    this.#waitMs = 0
    for (let left: number = liveLimits.burstRecordsMax; ; left--) {
      const next = this.#labels.next(this.#eventSeconds, this.#sent)
      if (next === 'none') return true
      if (next === 'working' || left === 0) return false
      if (!this.#options.sink.sendLabel(this.#labels.chunk, this.#labels.row)) {
        this.#waitMs = liveLimits.queueFullPauseMs
        return false
      }
      this.#labels.advance()
      this.#labelsSent++
    }
  }

  async #pause(): Promise<void> {
    assert(this.#waitMs >= 0, 'nobody waits backwards')
    this.#options.sink.poll()
    if (this.#waitMs > 0) await this.#options.clock.sleep(this.#waitMs, this.#stopping.signal)
    else await nextTurn()
  }
}
