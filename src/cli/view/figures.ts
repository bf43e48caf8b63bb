import type { DemoState } from './demo-state.js'

/** Numbers as people read them. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en')
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

export function milliseconds(value: number): string {
  if (Number.isNaN(value)) return '–'
  return value < 100 ? `${value.toFixed(1)} ms` : `${count(value)} ms`
}

export function share(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`
}

/** 2018-05-01 13:22:01, UTC. */
export function dateTime(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19).replace('T', ' ')
}

export function amount(minorUnits: number): string {
  return Number.isNaN(minorUnits) ? '' : (minorUnits / 100).toFixed(2)
}

/** What happens now, in a few words. */
export function phaseText(state: DemoState): string {
  const { phase, historyEvents, historyDays, scored, deadLetters } = state
  const days = historyDays >= 2 ? `${Math.round(historyDays)} days` : `${Math.max(1, Math.round(historyDays * 24))} hours`
  switch (phase) {
    case 'history':
    case 'catching-up':
      return `fast-forward ${days} ${share(Math.min(scored + deadLetters, historyEvents), historyEvents)}`
    case 'live':
      return 'live'
    case 'draining':
      return 'all sent, waiting for the last scores'
    case 'ended':
      return 'ended'
  }
}

/** The engine's state; while it is away or busy with itself also for how long. */
export function engineText({ engine }: DemoState): string {
  return engine.state === 'running' || engine.state === 'stopped' ? engine.state : `${engine.state} ${(engine.upMs / 1000).toFixed(1)} s`
}
