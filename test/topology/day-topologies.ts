import { parseTopology, type Topology } from '../../src/topology/load-topology.js'

export const file = new URL('../../../topologies/days.yaml', import.meta.url).pathname

interface Days {
  readonly ring?: number
  readonly grace?: string
  readonly ttl?: string
  readonly events?: string
  readonly limits?: string
  /** The customer is personal. */
  readonly personal?: boolean
}

const dayFeatures = `[
      { name: f0, kind: count, window: 1d },
      { name: f1, kind: sum, field: amount, window: 3d, scale: 0.00001 },
      { name: f2, kind: max, field: amount, window: 1d, scale: 0.00001 },
      { name: f3, kind: std, field: amount, window: 3d, scale: 0.00001 },
      { name: f4, kind: LABELS }]`

/** One stage that turns days. */
export function daysTopology({ ring = 4, grace = '1h', ttl = '20d', events = '', limits = '', personal = false }: Days = {}): Topology {
  return parseTopology(
    `
name: days
source:
  topic: transactions
  format: avro
  schema: ../schemas/transaction.avsc
  fields:
    event_id: { path: transaction_id, type: text }
    event_time: { path: event_time, type: timestamp-millis }
    customer: { path: customer_id, type: text${personal ? ', personal: true' : ''} }
    terminal: { path: terminal_id, type: text }
    amount: { path: amount_minor, type: integer, min: 0 }
stages:
  account:
    key: customer
    grace: ${grace}
    ttl: ${ttl}
    ring: ${ring}
    score: { when: dayTurn${events} }
    features: ${dayFeatures.replace('kind: LABELS', 'kind: distinctCount, field: terminal, window: 2d')}
    models: { champion: gru@1, shadows: [window@1] }
    policy: { decline: 0.9, review: 0.5 }
limits: { ${limits.includes('batchRecordsMax') ? '' : 'batchRecordsMax: 64, checkpointIntervalMs: 100ms, '}${limits} }
`,
    file,
  )
}

/** Days behind a stage that scores payments and passes labels on. */
export function chainTopology(limits = ''): Topology {
  return parseTopology(
    `
name: chain-days
source:
  topic: transactions
  format: avro
  schema: ../schemas/transaction.avsc
  fields:
    event_id: { path: transaction_id, type: text }
    event_time: { path: event_time, type: timestamp-millis }
    customer: { path: customer_id, type: text }
    amount: { path: amount_minor, type: integer, min: 0 }
labels:
  topic: labels
  format: avro
  schema: ../schemas/label.avsc
  fields:
    event_id: { path: transaction_id, type: text }
    known_at: { path: known_at, type: timestamp-millis }
    is_fraud: { path: is_fraud, type: boolean }
    customer: { path: customer_id, type: text }
stages:
  customer:
    key: customer
    grace: 1h
    ttl: 60d
    ring: 4
    features: [{ name: f0, kind: value, field: amount, scale: 0.00001 }, { name: f1, kind: count, window: 1h }, { name: f2, kind: hourSin }, { name: f3, kind: hourCos }, { name: f4, kind: weekend }]
    models: { champion: row@1 }
  account:
    key: customer
    grace: 1h
    ttl: 20d
    ring: 4
    upstreamSkew: 2d
    score: { when: dayTurn, events: { field: customer.score, from: 0.6 } }
    features: ${dayFeatures.replace('kind: LABELS', 'kind: labelCount, window: 5d')}
    models: { champion: gru@1, shadows: [window@1] }
    policy: { decline: 0.9, review: 0.5 }
limits: { batchRecordsMax: 64, checkpointIntervalMs: 100ms, ${limits} }
`,
    file,
  )
}
