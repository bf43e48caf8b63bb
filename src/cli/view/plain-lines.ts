import type { DemoState } from './demo-state.js'
import { amount, count, dateTime, engineText, milliseconds, phaseText, share, sum } from './figures.js'

/** Alerts between two lines of figures: the newest. */
const alertsMax = 3

/** The state as lines for a log: one of figures, before it the newest alerts since the call before. */
export function plainLines(state: DemoState, alertsBefore: number): string[] {
  const fresh = Math.min(alertsMax, state.alerts - alertsBefore)
  const alerts = fresh > 0 ? state.alertRows.slice(-fresh) : []
  return [
    ...alerts.map(
      (row) =>
        `  alert ${dateTime(row.eventTimeMs)} card ${row.card} amount ${amount(row.amountMinor)} score ${row.score.toFixed(3)} ${row.decision} ${row.model} ${row.isFraud ? '✓ fraud' : '✗ false'} ${row.why}`,
    ),
    [
      phaseText(state),
      `engine ${engineText(state)}`,
      `${count(state.perSecond.at(-1) ?? 0)} events/s`,
      `produced ${count(state.produced)}`,
      `scored ${count(state.scored)}`,
      `waiting ${count(state.waiting)}`,
      `delay p50 ${milliseconds(state.delayMs.p50)} p99 ${milliseconds(state.delayMs.p99)}`,
      `frauds ${count(sum(state.frauds))} caught ${share(sum(state.fraudsCaught), sum(state.frauds))} false alerts ${count(state.falseAlerts)}`,
      `missing ${count(state.missing)}`,
      `duplicates ${count(state.duplicates + state.unexpected)}`,
      `kills ${count(state.kills)}`,
    ].join('  '),
  ]
}
