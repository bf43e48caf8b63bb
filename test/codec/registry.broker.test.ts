import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { RegistryClient, UnknownSchemaIdError } from '../../src/codec/registry-client.js'
import { loadSchemaFolder } from '../../src/codec/schema-files.js'
import { startTestStack, type TestStack } from '../broker/test-stack.js'

let stack: TestStack
let client: RegistryClient

before(async () => {
  stack = await startTestStack()
  client = new RegistryClient(stack.registryUrl, { clock: systemClock })
})

after(async () => {
  await stack?.stop()
})

test('a real registry takes each schema after its predecessor, as BACKWARD compatible', async () => {
  const predecessors = loadSchemaFolder('test/golden/codec/schemas-1')
  for (const [name, schema] of loadSchemaFolder()) {
    const subject = `codec-test.${name}-value`
    const first = await client.register(subject, predecessors.get(name) ?? schema)
    await client.setCompatibility(subject, 'BACKWARD')
    assert.deepEqual(await client.compatible(subject, schema), { compatible: true, messages: [] })
    const id = await client.register(subject, schema)
    assert.equal(await new RegistryClient(stack.registryUrl, { clock: systemClock }).register(subject, schema), id)
    assert.deepEqual(await client.schemaById(id), schema)
    const latest = await client.latest(subject)
    assert.deepEqual([latest?.id, latest?.schema], [id, schema])
    assert.ok(id >= first)
  }
})

test('a real registry refuses what could not read its predecessor, and says so', async () => {
  const subject = 'codec-test.broken-value'
  const versions = [[{ name: 'a', type: 'long' }], [{ name: 'a', type: 'long' }, { name: 'b', type: 'string' }]]
  const [first, second] = versions.map((fields) => ({ type: 'record', name: 'R', fields }))
  await client.register(subject, first!)
  await client.setCompatibility(subject, 'BACKWARD')
  assert.equal((await client.compatible(subject, second!)).compatible, false)
  await assert.rejects(client.register(subject, second!), (error) => error instanceof HarrierError && error.code === 'REGISTRY_REFUSED' && error.message.includes(subject))
})

test('a real registry says definitely that it has no such id or subject', async () => {
  await assert.rejects(client.schemaById(987_654), UnknownSchemaIdError)
  assert.equal(client.isUnknownId(987_654), true)
  assert.equal(await client.latest('codec-test.absent-value'), undefined)
  assert.deepEqual(await client.compatible('codec-test.absent-value', { type: 'record', name: 'R', fields: [] }), { compatible: true, messages: [] })
})
