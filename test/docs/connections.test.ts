import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { connectionSchema, connectMsMaxDefault } from '../../src/connection/connection-schema.js'
import { tokenLimits } from '../../src/connection/token-source.js'
import { objectStoreLimits } from '../../src/object-store/object-store.js'
import { adminLimits } from '../../src/consumer/admin.js'
import { connectLimits } from '../../src/consumer/connect-watch.js'

describe('docs/connections.md', () => {
  const text = readFileSync('docs/connections.md', 'utf8')

  it('shows connection files that are taken as they stand', () => {
    const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml]) => yaml!)
    assert.equal(examples.length, 4)
    for (const yaml of examples) assert.deepEqual(connectionSchema.safeParse(parse(yaml)).error?.issues ?? [], [], yaml)
  })

  it('names the times that the code keeps', () => {
    assert.equal(adminLimits.refusedMsMax, 2000)
    assert.equal(connectLimits.refusedMsMax, 2000)
    assert.equal(connectMsMaxDefault, 30_000)
    assert.equal(tokenLimits.requestMsMax, 10_000)
    assert.equal(tokenLimits.lifeShare, 0.8)
    const { triesMax, waitMsMin, idleMsMax, objectBytesMax } = objectStoreLimits
    assert.deepEqual([triesMax, waitMsMin, idleMsMax, objectBytesMax], [5, 200, 30_000, 5 * 2 ** 30])
    for (const told of ['up to five times', '0.2 s, 0.4 s, 0.8 s and 1.6 s', '30 s without a byte', '5 GiB', 'lasted 2 s', '`connectTimeout` (30 s)', 'after 10 s', '80 % of it']) assert.ok(text.includes(told), told)
  })
})
