import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { demoOf, newDemoNamespace } from '../../../src/cli/view/demo-namespace.js'

describe('the namespace of a demo', () => {
  it('tells later demos when it began', () => {
    const beganMs = Date.UTC(2026, 10, 23, 20, 15, 30)
    const namespace = newDemoNamespace(beganMs + 123)
    assert.match(namespace, /^demo-20261123-201530-[0-9a-f]{4}$/)
    assert.deepEqual(demoOf(`${namespace}.card-fraud.scored`), { namespace, beganMs })
  })

  it('is not seen in names of others', () => {
    for (const name of ['transactions', 'demo.transactions', 'demo-mine.transactions', 'my-demo-20261123-201530-4f2a.x', 'demo-20261123-201530-4f2a', 'demo-20269999-201530-4f2a.x']) {
      assert.equal(demoOf(name), undefined, name)
    }
  })
})
