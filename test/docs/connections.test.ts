import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { connectionSchema, connectMsMaxDefault } from '../../src/connection/connection-schema.js'
import { tokenLimits } from '../../src/connection/token-source.js'
import { adminLimits } from '../../src/consumer/admin.js'
import { connectLimits } from '../../src/consumer/connect-watch.js'

describe('docs/connections.md', () => {
  const text = readFileSync('docs/connections.md', 'utf8')

  it('shows connection files that are taken as they stand', () => {
    const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml]) => yaml!)
    assert.equal(examples.length, 3)
    for (const yaml of examples) assert.deepEqual(connectionSchema.safeParse(parse(yaml)).error?.issues ?? [], [], yaml)
  })

  it('names the times that the code keeps', () => {
    assert.equal(adminLimits.refusedMsMax, 2000)
    assert.equal(connectLimits.refusedMsMax, 2000)
    assert.equal(connectMsMaxDefault, 30_000)
    assert.equal(tokenLimits.requestMsMax, 10_000)
    assert.equal(tokenLimits.lifeShare, 0.8)
    for (const told of ['lasted 2 s', '`connectTimeout` (30 s)', 'after 10 s', '80 % of it']) assert.ok(text.includes(told), told)
  })
})
