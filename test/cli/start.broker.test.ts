import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startTestStack, type TestStack } from '../broker/test-stack.js'
import { harrier } from '../stack/stack-fixture.js'

const events = 5000

describe('harrier start on a real broker', () => {
  let stack: TestStack
  let env: NodeJS.ProcessEnv

  before(async () => {
    stack = await startTestStack()
    env = { HARRIER_BROKERS: stack.brokers, HARRIER_REGISTRY: stack.registryUrl }
  })
  after(() => stack.stop())

  async function start(...args: string[]): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await harrier(['start', '--events', String(events), '--json', ...args], env)
    assert.equal(code, 0, stderr)
    assert.equal(stdout.trimEnd().split('\n').length, 1, 'one line on standard output')
    return JSON.parse(stdout) as Record<string, unknown>
  }

  it('ends by itself with one line of JSON: everything scored once', async () => {
    const result = await start()
    const fields = ['produced', 'scored', 'alerts', 'deadLetters', 'missing', 'duplicates', 'eventsPerSecond', 'delayMsP50', 'delayMsP99']
    for (const field of fields) assert.equal(typeof result[field], 'number', field)
    const { produced, scored, deadLetters, missing, duplicates, unexpected, kills } = result
    assert.deepEqual({ produced, scored, deadLetters, missing, duplicates, unexpected, kills }, { produced: events, scored: events, deadLetters: 0, missing: 0, duplicates: 0, unexpected: 0, kills: 0 })
  })

  it('loses and doubles nothing when the engine is killed on the way, and tail shows what came out', async () => {
    const { produced, scored, missing, duplicates, unexpected, kills, namespace } = await start('--kill-after', '3000')
    assert.deepEqual({ produced, scored, missing, duplicates, unexpected, kills }, { produced: events, scored: events, missing: 0, duplicates: 0, unexpected: 0, kills: 1 })

    const tail = async (...args: string[]): Promise<string[]> => {
      const { code, stdout, stderr } = await harrier(['tail', ...args, '--namespace', String(namespace)], env)
      assert.equal(code, 0, stderr)
      return stdout.trimEnd().split('\n')
    }
    const ids = (await tail('scored', '--from-beginning', '--count', String(events), '--json')).map((line) => (JSON.parse(line) as { value: { event_id: string } }).value.event_id)
    assert.equal(new Set(ids).size, events)
    assert.equal((await tail('lineage', '--count', '3')).length, 4, 'a heading and three records')
    assert.equal((await tail('card-fraud.scored', '--last', '2', '--count', '2', '--json')).length, 2)
  })
})
