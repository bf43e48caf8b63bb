import assert from 'node:assert/strict'
import { test } from 'node:test'
import avro from 'avsc'
import fc from 'fast-check'
import { Arena } from '../../src/base/arena.js'
import { AssertionError } from '../../src/base/assert.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { AlertEncoder } from '../../src/codec/alert-encoder.js'
import { writeBigLong, writeLong } from '../../src/codec/avro-writer.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import type { EventShape } from '../../src/codec/event-part-writer.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { OutcomeColumns, decisionNames } from '../../src/codec/outcome-columns.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { encodeExplanation } from '../../src/codec/explanation-encoder.js'
import { ScoredEventEncoder } from '../../src/codec/scored-event-encoder.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { fillRecords } from './decode-fixture.js'
import { bigLong } from './random-avro.js'

test('longs are written as avsc writes them, over all 64 bits', () => {
  const long = avro.Type.forSchema('long', { registry: { long: bigLong }, wrapUnions: 'always' })
  const edges = [0n, 63n, 64n, 2n ** 30n, 2n ** 31n, 2n ** 32n, 2n ** 47n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n].flatMap((n) => [n, -n, n - 1n, -n - 1n])
  const arena = new Arena(64)
  const written = (write: () => void): Buffer => {
    arena.reset()
    write()
    return Buffer.from(arena.bytes.subarray(0, arena.used))
  }
  const check = (value: bigint): void => {
    const expected = long.toBuffer(value)
    assert.deepEqual(written(() => writeBigLong(arena, value)), expected)
    if (Number.isSafeInteger(Number(value))) assert.deepEqual(written(() => writeLong(arena, Number(value))), expected)
  }
  for (const value of edges) check(BigInt.asIntN(64, value))
  fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer({ min: 0, max: 63 }), (value, shift) => check(value >> BigInt(shift))))
  for (const value of [2 ** 53, 0.5, NaN, Infinity]) assert.throws(() => writeLong(arena, value), AssertionError)
  assert.throws(() => writeBigLong(arena, 2n ** 63n), AssertionError)
})

const fields: FieldSpec[] = [
  { name: 'id', path: 'id', type: 'text' },
  { name: 'time', path: 'time', type: 'timestamp-millis' },
  { name: 'card', path: 'card', type: 'text' },
  { name: 'amount', path: 'amount', type: 'integer', optional: true },
  { name: 'rate', path: 'rate', type: 'number', optional: true },
  { name: 'place', path: 'place', type: 'text', optional: true },
  { name: 'online', path: 'online', type: 'boolean', optional: true },
]

const models = [
  { label: 'card-gru@1', role: 'champion' },
  { label: 'card-attention@12', role: 'shadow' },
  { label: `card-${'long'.repeat(40)}@1`, role: 'shadow' },
]

const shape: EventShape = {
  schemaId: 0x01020304,
  fields,
  eventId: 'id',
  entity: 'card',
  eventTime: 'time',
  models,
  deciders: ['card-gru@1', 'rule', 'review'],
  reasons: Array.from({ length: 31 }, (_, i) => `reason ${i} é`),
  attributes: ['amount', 'rate', 'place', 'online'],
}

const text = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((value) => Buffer.from(value).toString() === value)
const score = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
const rows = fc.array(
  fc.record({
    event: fc.record(
      {
        id: text,
        time: fc.integer({ min: 0, max: 253_402_300_799_999 }),
        card: text,
        amount: fc.option(fc.maxSafeInteger()),
        rate: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)),
        place: fc.option(text),
        online: fc.option(fc.boolean()),
      },
      { noNullPrototype: true },
    ),
    score,
    scores: fc.array(fc.option(score, { nil: NaN }), { minLength: 3, maxLength: 3 }),
    decision: fc.integer({ min: 0, max: 2 }),
    decider: fc.integer({ min: 0, max: 2 }),
    fallback: fc.boolean(),
    late: fc.boolean(),
    reasons: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }),
    explanation: fc.option(
      fc.record({
        referenceScore: score,
        rest: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
        reasons: fc.array(
          fc.record({ name: text, contribution: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0), text, eventTime: fc.option(fc.maxSafeInteger()) }),
          { maxLength: 4 },
        ),
      }),
    ),
  }),
  { minLength: 1, maxLength: 20 },
)

test('avsc reads the scored events and alerts that the encoders write from columns', () => {
  const scoredType = exactType(loadOwnSchema('scored-event'))
  const alertType = exactType(loadOwnSchema('alert'))
  const decoder = createSourceDecoder({ format: 'json', fields })
  const scoredEncoder = new ScoredEventEncoder(shape)
  const alertEncoder = new AlertEncoder(shape)
  fc.assert(
    fc.property(rows, fc.maxSafeInteger(), (drawn, sequence) => {
      const records = fillRecords(drawn.map(({ event }) => Buffer.from(JSON.stringify(event))), () => 0xff)
      const events = new EventColumns(fields, drawn.length)
      decoder.decode(records, events)
      assert.equal(events.faults, 0, events.faultMessage(0))
      const outcome = new OutcomeColumns(drawn.length, models.length)
      outcome.reset(drawn.length)
      drawn.forEach((row, i) => {
        outcome.score[i] = row.score
        outcome.scores.set(row.scores, i * models.length)
        outcome.decision[i] = row.decision
        outcome.decider[i] = row.decider
        outcome.fallback[i] = Number(row.fallback)
        outcome.late[i] = Number(row.late)
        if (row.explanation) outcome.explanations.set(i, encodeExplanation(row.explanation))
        outcome.reasons[i] = row.reasons.reduce((bits, reason) => bits | (1 << reason), 0)
      })
      // A small arena, so that it grows between rows.
      const out = new RecordColumns(drawn.length * 2, new Arena(64))
      scoredEncoder.setLineage('card-fraud/customer/3', sequence)
      alertEncoder.setLineage('card-fraud/customer/3', sequence)
      drawn.forEach((row, i) => {
        scoredEncoder.encode(out, out.begin(0, 0, 0, 0), records, events, outcome, i)
        alertEncoder.encode(out, out.begin(1, 0, 0, 0), records, events, outcome, i)
      })
      drawn.forEach((row, i) => {
        const { event } = row
        const scored = read(scoredType, out.value(i * 2)!)
        const alert = read(alertType, out.value(i * 2 + 1)!)
        const attributes = {
          ...(event.amount === null ? {} : { amount: { long: event.amount } }),
          ...(event.rate === null ? {} : { rate: { double: event.rate } }),
          ...(event.place === null ? {} : { place: { string: event.place } }),
          ...(event.online === null ? {} : { online: { long: Number(event.online) } }),
        }
        const shared = {
          event_id: event.id,
          entity: event.card,
          event_time: event.time,
          score: row.score,
          decision: decisionNames[row.decision],
          model: shape.deciders[row.decider],
          reasons: [...new Set(row.reasons)].sort((a, b) => a - b).map((reason) => shape.reasons[reason]),
          attributes,
          lineage: { task: 'card-fraud/customer/3', sequence },
          explanation: row.explanation && {
            'harrier.Explanation': {
              reference_score: row.explanation.referenceScore,
              reasons: row.explanation.reasons.map(({ eventTime, ...reason }) => ({ ...reason, event_time: eventTime === null ? null : { long: eventTime } })),
              rest: row.explanation.rest,
            },
          },
        }
        assert.deepEqual(alert, shared)
        const scores = models.flatMap(({ label, role }, m) => (Number.isNaN(row.scores[m]) ? [] : [{ model: label, role, score: row.scores[m] }]))
        assert.deepEqual(scored, { ...shared, fallback: row.fallback, late: row.late, scores })
      })
    }),
    { numRuns: 300 },
  )
})

/** avsc with 64-bit longs: its own are wrong below -2^52. */
function exactType(schema: object): avro.Type {
  const plain = JSON.parse(JSON.stringify(schema), (_, node: { type?: unknown } | null) => (node?.type === 'long' && 'logicalType' in node ? 'long' : node)) as avro.Schema
  return avro.Type.forSchema(plain, { registry: { long: bigLong }, wrapUnions: 'always' })
}

/** What avsc reads behind the prefix, as plain objects. */
function read(type: avro.Type, value: Uint8Array): unknown {
  assert.deepEqual([...value.subarray(0, 5)], [0, 1, 2, 3, 4])
  return JSON.parse(JSON.stringify(type.fromBuffer(Buffer.from(value.subarray(5))), (_, held: unknown) => (typeof held === 'bigint' ? Number(held) : held)))
}
