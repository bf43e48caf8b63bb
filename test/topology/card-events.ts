import { Prng } from '../../src/base/prng.js'
import { parseTopology, type Topology } from '../../src/topology/load-topology.js'
import type { TestRecord } from '../../src/topology/test-driver.js'

export const minuteMs = 60_000
export const hourMs = 3_600_000
export const dayMs = 24 * hourMs
/** Monday 2024-01-01, 10:00 UTC. */
export const startMs = 1_704_103_200_000

export interface Card {
  readonly transaction_id: number
  readonly event_time: number
  readonly customer_id: string
  readonly terminal_id: string
  readonly amount_minor: number
  readonly currency: string
}

export function card(id: number, customer: string, eventTime: number, more: Partial<Card> = {}): Card {
  return { transaction_id: id, event_time: eventTime, customer_id: customer, terminal_id: '31', amount_minor: 2_500, currency: 'EUR', ...more }
}

export function cardRecord(value: Card, more: Partial<TestRecord> = {}): TestRecord {
  return { key: value.customer_id, value, timestampMs: value.event_time, ...more }
}

/** Payments of some customers over days, with gaps, steps back within and beyond an hour of grace, and broken records: one kind of them lies 400 days ahead. */
export function randomCards(seed: number, count: number, options: { customers?: number; broken?: boolean; amountMax?: number } = {}): TestRecord[] {
  const prng = new Prng(seed)
  const customers = options.customers ?? 7
  const gapMsMax = [minuteMs, hourMs, 12 * hourMs, 10 * dayMs][prng.below(4)]!
  let now = startMs
  return Array.from({ length: count }, (_, id) => {
    now += prng.below(gapMsMax)
    const back = prng.below(5) === 0 ? prng.below(3 * hourMs) : 0
    const value = card(id, `c${prng.below(customers)}`, now - back, { amount_minor: 1 + prng.below(options.amountMax ?? 300_000), terminal_id: `t${prng.below(50)}` })
    const record = cardRecord(value)
    if (options.broken && prng.below(12) === 0) {
      const values = [null, Buffer.from([1, 2, 3, 4, 5, 6]), { ...value, amount_minor: -5 }, { ...value, event_time: value.event_time + 400 * dayMs }]
      return { ...record, value: values[prng.below(values.length)] ?? null }
    }
    return record
  })
}

export interface SmallTopology {
  readonly champion?: string
  readonly shadows?: readonly string[]
  readonly fallback?: string
  readonly late?: 'score' | 'dead-letter'
  readonly grace?: string
  readonly ttl?: string
  readonly format?: 'avro' | 'json'
  readonly limits?: string
  readonly aheadMax?: string
  /** The customer is personal. */
  readonly personal?: boolean
  readonly delivery?: 'exactlyOnce' | 'atLeastOnce'
}

/** A topology over the test models' features f0 to f4: f0 is the amount in units, so that an event can spring a trap. */
export function smallTopology(options: SmallTopology = {}): Topology {
  const { champion = 'gru@1', shadows = [], fallback = 'review', late = 'score', grace = '1h', ttl = '60d', format = 'avro', limits = '', aheadMax, personal = false, delivery } = options
  const file = new URL('../../../topologies/small.yaml', import.meta.url).pathname
  return parseTopology(
    `
name: small
${delivery === undefined ? '' : `delivery: ${delivery}`}
source:
  topic: transactions
  format: ${format}
  ${format === 'avro' ? 'schema: ../schemas/transaction.avsc' : ''}
  ${aheadMax === undefined ? '' : `aheadMax: ${aheadMax}`}
  fields:
    event_id: { path: transaction_id, type: text }
    event_time: { path: event_time, type: timestamp-millis }
    customer: { path: customer_id, type: text${personal ? ', personal: true' : ''} }
    terminal: { path: terminal_id, type: text }
    amount: { path: amount_minor, type: integer, min: 0 }
stages:
  customer:
    key: customer
    grace: ${grace}
    ttl: ${ttl}
    late: ${late}
    ring: 8
    features:
      - { name: f0, kind: value, field: amount, scale: 0.01 }
      - { name: f1, kind: count, window: 1h }
      - { name: f2, kind: mean, field: amount, window: 1d, scale: 0.001 }
      - { name: f3, kind: timeSince, log1p: true }
      - { name: f4, kind: hourSin }
    models:
      champion: ${champion}
      shadows: [${shadows.join(', ')}]
    policy:
      decline: 0.9
      review: 0.5
      fallback: ${fallback}
      attributes: [amount, terminal]
limits: { ${limits.includes('batchRecordsMax') ? '' : 'batchRecordsMax: 64, '}${limits} }
`,
    file,
  )
}
