import type { EngineStats } from '../../topology/engine-stats.js'

export interface AlertRow {
  /** ms since 1970. */
  readonly eventTimeMs: number
  readonly card: string
  readonly amountMinor: number
  readonly score: number
  readonly decision: string
  /** name@version */
  readonly model: string
  readonly isFraud: boolean
  /** The first reason, or who decided where there is none. */
  readonly why: string
}

/**
 * `history`: events of the past at full speed; `catching-up`: these are sent and the engine is at work on them;
 * `live`: events at the rate; `draining`: all are sent, the last results are awaited; `ended`.
 */
export type DemoPhase = 'history' | 'catching-up' | 'live' | 'draining' | 'ended'

/** What a view shows: numbers of one moment. Nothing in it depends on a terminal. */
export interface DemoState {
  readonly phase: DemoPhase
  readonly namespace: string
  readonly topology: string
  readonly elapsedMs: number
  /** Transactions of the fast-forward, and the days of event time that they span. */
  readonly historyEvents: number
  readonly historyDays: number
  readonly eventTimeMs: number
  readonly produced: number
  readonly scored: number
  readonly deadLetters: number
  /** Produced and without a result yet. */
  readonly waiting: number
  readonly missing: number
  readonly duplicates: number
  readonly unexpected: number
  /** Results in each second, the newest last. */
  readonly perSecond: readonly number[]
  /** From the transaction's record to its score in a reader's hands, of the last seconds; NaN without any. */
  readonly delayMs: { readonly p50: number; readonly p99: number }
  readonly kills: number
  readonly engine: { readonly state: string; readonly upMs: number }
  readonly models: EngineStats['models']
  readonly tasks: EngineStats['tasks']
  /** All alerts, those of the fast-forward included. */
  readonly alerts: number
  /** Since the fast-forward: frauds among the scored, and those with an alert, by scenario 1 to 3. */
  readonly frauds: readonly number[]
  readonly fraudsCaught: readonly number[]
  readonly fraudsDeclined: number
  readonly falseAlerts: number
  /** The newest last; bounded. */
  readonly alertRows: readonly AlertRow[]
}
