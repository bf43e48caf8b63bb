// Worked examples of the documentation: every number in them comes out of the engine itself.
import { readFileSync } from 'node:fs'
import { EntityStore } from '../dist/src/entity/entity-store.js'
import { FeatureProgram, storeNeeds } from '../dist/src/features/feature-program.js'
import { featureSchema } from '../dist/src/features/feature-spec.js'
import { loadTopology, parseTopology, topologyFile } from '../dist/src/topology/load-topology.js'
import { TopologyTestDriver } from '../dist/src/topology/test-driver.js'

const code = (text) => `\`${text}\``
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const round = (value) => String(Number(value.toFixed(4)))

/** Thursday 2024-05-02 09:00, Friday 08:30 and Saturday 03:00 (UTC), in cents. */
const payments = [
  { timeMs: Date.UTC(2024, 4, 2, 9), cents: 1000 },
  { timeMs: Date.UTC(2024, 4, 3, 8, 30), cents: 3000 },
  { timeMs: Date.UTC(2024, 4, 4, 3), cents: 2000 },
]

const exampleFeatures = [
  { kind: 'value', field: 'amount', scale: 0.01 },
  { kind: 'log1p', field: 'amount', scale: 0.01 },
  { kind: 'hourSin' },
  { kind: 'hourCos' },
  { kind: 'weekend' },
  { kind: 'night' },
  { kind: 'count', window: '1d' },
  { kind: 'sum', field: 'amount', window: '1d', scale: 0.01 },
  { kind: 'mean', field: 'amount', window: '1d', scale: 0.01 },
  { kind: 'ratio', field: 'amount', window: '1d' },
  { kind: 'category', field: 'amount', values: [2000, 3000] },
  { kind: 'timeSince', unit: '1h' },
  { kind: 'timeSince', unit: '1h', log1p: true },
]

/** Each feature kind over three payments of one card. */
export function featureExample(table) {
  const specs = exampleFeatures.map((feature, index) => featureSchema.parse({ name: `f${index}`, ...feature }))
  const needs = storeNeeds(specs)
  const store = new EntityStore({ keyBytesMax: 47, ...needs, graceMs: 0, ttlMs: 60 * dayMs, windowEntriesMax: 4096 })
  const program = new FeatureProgram(specs, store.log)
  const slot = store.slots.allocate()
  const rows = payments.map(({ timeMs, cents }) => {
    program.values[0] = cents
    store.log.moment.fill(timeMs)
    store.fold(slot, program.entry, null)
    const row = new Float32Array(specs.length)
    program.writeRow(row, 0)
    return row
  })
  const heads = payments.map(({ timeMs, cents }) => `${new Date(timeMs).toISOString().slice(5, 16).replace('T', ' ')}, ${(cents / 100).toFixed(2)}`)
  return table(['feature', ...heads], exampleFeatures.map((feature, f) => [code(yamlOf(feature)), ...rows.map((row) => round(row[f]))]))
}

const yamlOf = (feature) => `{ ${Object.entries(feature).map(([name, value]) => `${name}: ${value}`).join(', ')} }`

/** Day 1 is 2024-05-01. Card A, and card B that moves the stream time of their partition. */
const story = [
  ['A', '1 10:00:00', 20, 'the first event of A'],
  ['A', '1 12:00:00', 40, 'in order: both in the day'],
  ['A', '1 11:30:00', 60, 'out of order by 30 minutes: placed by event time, sees 10:00 and itself'],
  ['A', '1 12:30:00', 80, 'sees all four'],
  ['A', '1 11:30:00', 10, 'exactly one hour behind: the last moment of grace, placed'],
  ['A', '1 11:29:59', 99, 'one second more: late. Scored against the state as it stands, state unchanged'],
  ['B', '1 14:00:00', 15, 'another card of the partition moves stream time'],
  ['A', '1 12:45:00', 30, 'the newest event of A, and late all the same: stream time belongs to the partition'],
  ['A', '2 10:00:00', 50, 'a window (t - 1d, t] leaves out an event exactly one day old: 10:00 of day 1 is gone'],
  ['B', '62 10:00:00', 15, 'stream time moves 60 days on'],
  ['A', '62 10:00:00', 50, 'exactly ttl after its last event: A is still known'],
  ['B', '122 10:00:01', 15, 'stream time moves 60 days and a second past the last event of A'],
  ['A', '122 10:00:01', 50, 'past ttl: A starts anew, time since the last event is 0 again'],
]

/** Late, out-of-order and expired events through card-fraud itself (grace 1h, ttl 60d), one partition. */
export async function eventTimeExample(table) {
  const topology = loadTopology('card-fraud')
  const features = topology.stage.features.map((feature) => feature.name)
  const driver = await TopologyTestDriver.open({ topology })
  const rows = []
  for (const [index, [customer, when, amount, why]] of story.entries()) {
    const [day, time] = when.split(' ')
    const eventTime = Date.UTC(2024, 4, Number(day)) + Date.parse(`1970-01-01T${time}Z`)
    const value = { transaction_id: index, event_time: eventTime, customer_id: customer, terminal_id: '1', amount_minor: amount * 100, currency: 'EUR' }
    const open = await driver.fold([{ key: customer, value, timestampMs: eventTime }])
    const row = open.batch.frame.rows.slice(0, features.length)
    const { scored } = await driver.commit(open)
    const late = scored[0].value.late
    const feature = (name) => row[features.indexOf(name)]
    const streamTimeMs = driver.stage.tasks[0].streamTimeMs
    const streamDay = Math.floor((streamTimeMs - Date.UTC(2024, 4, 0)) / dayMs)
    const since = Math.expm1(feature('log_since')) / 60
    rows.push([customer, `day ${when}`, `day ${streamDay} ${new Date(streamTimeMs).toISOString().slice(11, 19)}`, amount, late ? '**late**' : '', round(feature('customer_count_1d')), round(feature('customer_mean_1d')), Math.round(since).toLocaleString('en'), why])
  }
  await driver.close()
  return table(['card', 'event time', 'stream time', 'amount', '', 'count 1d', 'mean 1d', 'minutes since', 'why'], rows)
}

/** What happens when somebody gets it wrong: a change to card-fraud.yaml, and what the check says. */
const mistakes = [
  [/(name: \w+_count_30d, kind: count, window: )30d/, '$190d', 'a window longer than `ttl`'],
  [/kind: log1p, field: amount/, 'kind: log1p, field: amonut', 'a misspelt field'],
  [/type: integer/, 'type: number', 'a window over a field that is no integer'],
  [/kind: night/, 'kind: nihgt', 'a kind that does not exist'],
  [/decline: [\d.]+/, 'decline: 0.001', '`review` above `decline`'],
  [/key: customer\b/, 'key: amount', 'a key that is no text'],
  [/grace: \w+/, 'grace: an-hour', 'no duration'],
  [/batchRecordsMax:/, 'batchRecordMax:', 'a setting that does not exist'],
  [/champion: card-gru@\d+/, 'champion: card-gru', 'a model without version'],
]

function saidOf([first, ...others]) {
  const { path, message } = first
  return `${code(path === '' ? message : `${path}: ${message}`)}${others.length > 0 ? ` and ${others.length} more` : ''}`
}

export function mistakeExamples(table) {
  const file = topologyFile('card-fraud')
  const text = readFileSync(file, 'utf8')
  return table(
    ['mistake', 'the check says (after file and line)'],
    mistakes.map(([from, to, what]) => {
      if (!from.test(text)) throw new Error(`card-fraud.yaml has no ${from} any more: correct the examples in scripts/docs-examples.js`)
      try {
        parseTopology(text.replace(from, to), file)
      } catch (error) {
        return [what, saidOf(error.problems)]
      }
      throw new Error(`"${what}" passes the check`)
    }),
  )
}
