import { Prng } from '../../src/base/prng.js'
import type { TestRecord } from '../../src/topology/test-driver.js'

export const epochMs = Date.UTC(2018, 3, 1)
export const delayMs = 7 * 86_400_000
export const paymentColumns = ['tx_id', 'seconds', 'customer_id', 'terminal_id', 'amount_cents', 'is_fraud', 'scenario'] as const

export type Payment = Record<(typeof paymentColumns)[number], number>

/** Payments of 30 cards on 12 terminals over some weeks: a terminal is bad for a while, and dear payments are frauds too. */
export function payments(count: number): Payment[] {
  const prng = new Prng(29)
  let seconds = 0
  return Array.from({ length: count }, (_, tx_id) => {
    seconds += 1 + prng.below(3600)
    const terminal = prng.below(12)
    const amount = 100 + prng.below(prng.below(40) === 0 ? 60_000 : 9000)
    const scenario = amount > 22_000 ? 1 : terminal === 5 && seconds > 600_000 ? 2 : 0
    return { tx_id, seconds, customer_id: prng.below(30), terminal_id: terminal, amount_cents: amount, is_fraud: Number(scenario > 0), scenario }
  })
}

export function paymentRecords(rows: readonly Payment[]): { events: TestRecord[]; labels: TestRecord[] } {
  const events: TestRecord[] = []
  const labels: TestRecord[] = []
  for (const { tx_id, seconds, customer_id, terminal_id, amount_cents, is_fraud, scenario } of rows) {
    const id = { transaction_id: tx_id, event_time: epochMs + seconds * 1000, customer_id: String(customer_id), terminal_id: String(terminal_id) }
    events.push({ key: id.customer_id, value: { ...id, amount_minor: amount_cents, currency: 'EUR' }, timestampMs: id.event_time })
    labels.push({ key: id.customer_id, value: { ...id, known_at: id.event_time + delayMs, is_fraud: is_fraud === 1, scenario }, timestampMs: id.event_time + delayMs })
  }
  return { events, labels }
}

/** As the simulator writes tables. */
export function paymentsCsv(rows: readonly Payment[]): string {
  return `${[paymentColumns.join(','), ...rows.map((row) => paymentColumns.map((name) => row[name]).join(','))].join('\n')}\n`
}
