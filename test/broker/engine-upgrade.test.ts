import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import { parse, stringify } from 'yaml'
import type { OwnSchema } from '../../src/codec/schema-files.js'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { assertSameList, verifyEngineRun } from './engine-verify.js'
import { unpackRelease } from './released.js'
import { startTestStack, type TestStack } from './test-stack.js'

const earlier = '0.1.0'
const ownModels = fileURLToPath(new URL('../../../models', import.meta.url))

/** Models as the earlier release reads them: its manifests have no reasons and no cards. */
function modelsAsThen(): string {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-models-'))
  for (const model of ['card-gru', 'card-attention', 'card-cnn', 'card-row']) cpSync(join(ownModels, model, '1'), join(folder, model, '1'), { recursive: true })
  for (const model of readdirSync(folder)) {
    const file = join(folder, model, '1', 'model.yaml')
    const { reasons: _, card: __, ...manifest } = parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    writeFileSync(file, stringify(manifest))
  }
  return folder
}

/** A scored event without what only one of the releases writes. */
function withoutExplanation(content: string): string {
  return JSON.stringify({ ...(JSON.parse(content) as object), explanation: null })
}

describe(`a rolling upgrade from ${earlier}, and back`, () => {
  let stack: TestStack
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  it('loses nothing, doubles nothing, and changes no score: two instances under load, one after the other', async (t) => {
    const release = unpackRelease(earlier)
    // What both understand: the topology and the manifests of the earlier one.
    const models = modelsAsThen()
    t.after(() => rmSync(models, { recursive: true, force: true }))
    const topology = smallBatchTopology(undefined, '', readFileSync(join(release, 'topologies/card-fraud.yaml'), 'utf8'))
    const program = { old: join(release, 'bin/harrier.js'), new: undefined }
    const start = (namespace: string, instanceId: string, which: 'old' | 'new'): EngineProcess =>
      new EngineProcess({ stack, namespace, instanceId, topology, models, program: program[which] })
    const feeder = new CardFeeder(stack, ['rolling', 'rolling-calm'], 11)
    await feeder.start()
    feeder.feed(120)
    const running = { a: start('rolling', 'a', 'old'), b: start('rolling', 'b', 'old') }
    await running.a.until('tasks ready', () => running.a.ready + running.b.ready >= 3)
    for (const which of ['new', 'old'] as const) {
      for (const instance of ['a', 'b'] as const) {
        assert.equal(await running[instance].interrupt(), 0)
        running[instance] = start('rolling', instance, which)
        const next = running[instance]
        await next.until('a task ready', () => next.ready > 0, 90_000)
        const { length } = feeder.sent.flat()
        await next.until('scores', () => (next.stats?.counters.scored ?? 0) > 20 && feeder.total > length + 100, 90_000)
      }
    }
    // All are of the earlier release again; the last word has the new one.
    await running.b.interrupt()
    await running.a.interrupt()
    await feeder.close()
    const last = start('rolling', 'a', 'new')
    await last.until('all committed', () => last.position === feeder.total, 90_000)
    assert.equal(await last.interrupt(), 0)
    const writers = new Map<number, object>()
    for (const [topic, schema] of [['lineage', 'lineage'], ['scored', 'scored-event'], ['alerts', 'alert']] as const satisfies readonly (readonly [string, OwnSchema])[]) {
      const earlierSchema = JSON.parse(readFileSync(join(release, `schemas/${schema}.avsc`), 'utf8')) as object
      writers.set(await feeder.registry.register(`rolling.card-fraud.${topic}-value`, earlierSchema), earlierSchema)
    }
    const run = await verifyEngineRun(stack.brokers, 'rolling', feeder.sent, new Set(), writers)
    const versions = new Set(run.lineage.flat().map(({ engine }) => engine.harrier))
    assert.ok(versions.size === 2 && versions.has(earlier), `lineage of ${[...versions].join(', ')}`)

    const calm = start('rolling-calm', 'calm', 'new')
    await calm.until('all committed', () => calm.position === feeder.total, 90_000)
    assert.equal(await calm.interrupt(), 0)
    const expected = await verifyEngineRun(stack.brokers, 'rolling-calm', feeder.sent)
    assertSameList([...run.contents.values()].map(withoutExplanation), [...expected.contents.values()].map(withoutExplanation), 'scores')
    t.diagnostic(`${feeder.total} events, ${run.lineage.flat().length} transactions`)
  })
})
