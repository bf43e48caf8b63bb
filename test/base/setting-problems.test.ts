import assert from 'node:assert/strict'
import test from 'node:test'
import { z } from 'zod'
import { nearest } from '../../src/base/nearest.js'
import { problemText } from '../../src/base/setting-problems.js'

const schema = z.strictObject({
  format: z.enum(['avro', 'json']).default('avro'),
  size: z.number().int().optional(),
  axis: z.union([z.literal(0), z.literal(1)]).optional(),
  values: z.array(z.union([z.string(), z.number()])).optional(),
  time: z.string('write a time').optional(),
  limits: z.strictObject({ batchRecordsMax: z.number().default(1), workers: z.number().default(1) }).prefault({}),
  steps: z.record(z.string(), z.strictObject({ wait: z.boolean() })).optional(),
  features: z.array(z.discriminatedUnion('kind', [z.strictObject({ kind: z.literal('count'), window: z.string() }), z.strictObject({ kind: z.literal('log1p'), field: z.string() })])).optional(),
})

const problems = (document: unknown, options = {}): string[] => {
  const { error } = schema.safeParse(document)
  return error?.issues.map((issue) => `${issue.path.join('.')}: ${problemText(issue, schema, document, options)}`) ?? []
}

const cases: [string, unknown, string][] = [
  ['a value near one that is allowed', { format: 'arvo' }, 'format: must be one of avro, json, not "arvo"; write avro'],
  ['a value like none', { format: 'protobuf' }, 'format: must be one of avro, json, not "protobuf"'],
  ['text for a number', { size: '12' }, 'size: must be a number, not "12"'],
  ['a fraction', { size: 1.5 }, 'size: must be a whole number, not 1.5'],
  ['a list for a number', { size: [1] }, 'size: must be a number, not this list'],
  ['a value beside two literals', { axis: 2 }, 'axis: must be one of 0, 1, not 2'],
  ['a boolean for text or a number', { values: [true] }, 'values.0: must be one of text, a number, not true'],
  ['what a schema has words of its own for', { time: 3 }, 'time: write a time'],
  ['a misspelt setting under defaults', { limits: { batchRecordMax: 1 } }, 'limits: there is no setting "batchRecordMax" here; write batchRecordsMax'],
  ['a setting that is like none', { limits: { colour: 1 } }, 'limits: there is no setting "colour" here; there are batchRecordsMax, workers'],
  ['a misspelt setting under a name of the user', { steps: { mine: { wait: true, wiat: 1 } } }, 'steps.mine: there is no setting "wiat" here; write wait'],
  ['a setting that is missing', { steps: { mine: {} } }, 'steps.mine.wait: is missing; it is true or false'],
  ['a setting of another kind', { features: [{ kind: 'count', window: '1h', field: 'a' }] }, 'features.0: there is no setting "field" here; there are kind, window'],
  ['a misspelt kind', { features: [{ kind: 'cuont' }] }, 'features.0.kind: must be one of count, log1p, not "cuont"; write count'],
]
for (const [what, document, said] of cases) {
  test(`${what} is told with what to write`, () => assert.deepEqual(problems(document), [said]))
}

test('a value that may be a secret is not repeated', () => {
  assert.deepEqual(problems({ size: 'hunter2', format: 'hunter2' }, { showValues: false }), ['format: must be one of avro, json, not this value', 'size: must be a number, not this value'])
})

test('the nearest of several words is the one with the fewest edits, and none is near what is wholly different', () => {
  assert.equal(nearest('ratoi', ['ratio', 'rate', 'sum']), 'ratio')
  assert.equal(nearest('Amount', ['amount', 'amounts']), 'amount')
  assert.equal(nearest('xyz', ['ratio', 'sum']), undefined)
})
