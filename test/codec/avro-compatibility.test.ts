import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breaches } from '../../src/codec/avro-compatibility.js'
import { loadSchemaFolder } from '../../src/codec/schema-files.js'

const base = {
  type: 'record',
  name: 'R',
  fields: [
    { name: 'id', type: 'int' },
    { name: 'state', type: { type: 'enum', name: 'S', symbols: ['A', 'B'] } },
    { name: 'inner', type: { type: 'record', name: 'I', fields: [{ name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } }] } },
    { name: 'list', type: { type: 'array', items: 'string' } },
    { name: 'maybe', type: ['null', 'string'], default: null },
  ],
}

function breach(from: string, to: string): [string, string][] {
  const text = JSON.stringify(base)
  assert.ok(text.includes(from), from)
  return breaches(base, JSON.parse(text.replace(from, to)) as object).map(({ field, why }) => [field, why])
}

test('the shipped schemas break no predecessor', () => {
  const present = loadSchemaFolder()
  for (const [name, predecessor] of loadSchemaFolder('test/golden/codec/schemas-1')) assert.deepEqual(breaches(predecessor, present.get(name)!), [], name)
})

test('what neither side minds is no breach', () => {
  assert.deepEqual(breach('{"name":"id","type":"int"}', '{"name":"id","type":"int"},{"name":"more","type":"string","default":""}'), [])
  assert.deepEqual(breach(',{"name":"maybe","type":["null","string"],"default":null}', ''), [])
  assert.deepEqual(breach('"name":"id","type":"int"', '"name":"id","type":"int","doc":"the id"'), [])
})

test('a breach is named by its field and by who suffers', () => {
  assert.deepEqual(breach('{"name":"id","type":"int"}', '{"name":"id","type":"string"}'), [['id', 'the new schema cannot read what the registered one wrote: int is not string']])
  assert.deepEqual(breach('{"name":"id","type":"int"}', '{"name":"id","type":"long"}'), [['id', 'consumers with the registered schema cannot read the new one: long is not int']])
  assert.deepEqual(breach('{"name":"id","type":"int"},', ''), [['id', 'consumers with the registered schema cannot read the new one: the field is missing and has no default']])
  assert.deepEqual(breach('["A","B"]', '["A","B","C"]'), [['state', 'consumers with the registered schema cannot read the new one: symbols C are not known']])
  assert.deepEqual(breach('timestamp-millis', 'timestamp-micros'), [['inner.at', 'the new schema cannot read what the registered one wrote: timestamp-millis is not timestamp-micros']])
  assert.deepEqual(breach('"items":"string"', '"items":"long"'), [['list[]', 'the new schema cannot read what the registered one wrote: string is not long']])
  assert.deepEqual(breach('["null","string"]', '["null","string","long"]'), [['maybe', 'consumers with the registered schema cannot read the new one: long is none of null, string']])
})

test('recursive schemas are compared to an end', () => {
  const tree = { type: 'record', name: 'T', fields: [{ name: 'left', type: ['null', 'T'], default: null }, { name: 'v', type: 'int' }] }
  assert.deepEqual(breaches(tree, tree), [])
})
