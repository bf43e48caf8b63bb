import assert from 'node:assert/strict'
import { appendFileSync, cpSync, rmSync, writeFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import type { Logger } from '../../src/base/logger.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { ModelStore } from '../../src/inference/model-store.js'
import type { Scorer } from '../../src/inference/scorer.js'
import type { ReleasedModel, StageModels } from '../../src/registry/release.js'
import { ModelTurns } from '../../src/topology/model-turns.js'
import { releasedUses } from '../../src/topology/released-models.js'
import { features, gruStep, rowModel, TestStore } from '../inference/test-models.js'
import { smallTopology } from './card-events.js'

const limitMs = 60_000

describe('a release that cannot be opened here', () => {
  const store = new TestStore()
  const topology = smallTopology({ fallback: '{ model: row@1 }' })
  const gru = store.add('gru', gruStep())
  const row = store.add('row', rowModel())
  const opened: { scorer: Scorer; turns: ModelTurns }[] = []
  after(async () => {
    for (const { scorer, turns } of opened) {
      await turns.stop()
      await scorer.close()
    }
    store.remove()
  })

  const released = (revision: number, model: string, sha256: string): StageModels => {
    const champion: ReleasedModel = { role: 'champion', model, sha256, share: 1, epoch: revision + 1 }
    return { topology: 'small', stage: 'customer', revision, models: [champion], actor: 'anna', reason: 'test', time: 0 }
  }

  async function open(): Promise<{ scorer: Scorer; turns: ModelTurns; errors: string[]; release(next: StageModels): void }> {
    const scorer = await createScorer({ features, window: 8, models: [{ model: gru, role: 'champion' }, { model: row, role: 'fallback' }], device: 'cpu', workers: 1, clock: systemClock, limits: { rowsMax: 8 }, chunkSlots: 16 })
    const errors: string[] = []
    const logger: Logger = { log: (level, message, fields) => level === 'error' && errors.push(`${message}: ${String(fields?.['cause'])}`) }
    let newest: StageModels | undefined
    const finder = new ModelStore(store.root)
    const turns = new ModelTurns({
      scorer, clock: systemClock, logger, limits: { pollMs: 5, retryMs: 20 },
      source: { poll: () => Promise.resolve(newest), close: () => Promise.resolve() },
      usesOf: (each) => releasedUses(topology, each, finder),
    })
    turns.start((takeOver) => takeOver())
    opened.push({ scorer, turns })
    return { scorer, turns, errors, release: (next) => (newest = next) }
  }

  async function until(what: string, done: () => boolean): Promise<void> {
    const endMs = systemClock.monotonicMs() + limitMs
    while (!done()) {
      assert.ok(systemClock.monotonicMs() < endMs, what)
      await systemClock.sleep(5)
    }
  }

  it('is refused once, loudly; the models in force go on; and it is taken up when its files have come', async () => {
    const { scorer, turns, errors, release } = await open()
    const later = store.add('later', gruStep(5))
    const away = `${store.root}-away`
    cpSync(later.folder, away, { recursive: true })
    rmSync(later.folder, { recursive: true })
    release(released(1, 'later@1', later.manifest.sha256))
    await until('a refusal', () => turns.refused !== undefined)
    assert.equal(turns.refused?.revision, 1)
    assert.equal(scorer.models[0]!.reference, 'gru@1')
    await systemClock.sleep(100)
    assert.equal(errors.length, 1, errors.join('\n'))
    assert.match(errors[0]!, /refused; the models in force go on: no .*later\/1\/model.yaml for later@1/)
    cpSync(away, later.folder, { recursive: true })
    rmSync(away, { recursive: true })
    await until('the release', () => scorer.inForce.release === 1)
    assert.deepEqual(scorer.models.map(({ reference, role, epoch }) => `${reference} ${role} ${epoch}`), ['later@1 champion 2', 'row@1 fallback 2'])
    assert.equal(turns.refused, undefined)
  })

  it('for its file or its manifest was altered is refused, and a rollback takes its place', async () => {
    const { scorer, turns, errors, release } = await open()
    const altered = store.add('altered', gruStep(6))
    appendFileSync(altered.file, 'x')
    release(released(1, 'altered@1', altered.manifest.sha256))
    await until('a refusal', () => turns.refused?.revision === 1)
    assert.match(errors[0]!, /altered@1: .* has sha256 .*, its manifest says/)
    const manifest = join(altered.folder, 'model.yaml')
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(altered.manifest.sha256, 'ab'.repeat(32)))
    release(released(2, 'altered@1', altered.manifest.sha256))
    await until('another refusal', () => turns.refused?.revision === 2)
    assert.match(errors[1]!, /altered@1 in .* has sha256 abab.*, and .* was released/)
    await turns.reached(2, new AbortController().signal)
    assert.match(errors[2]!, /a partition goes back to an older release/)
    release(released(3, 'gru@1', gru.manifest.sha256))
    await until('the rollback', () => scorer.inForce.release === 3)
    assert.equal(scorer.models[0]!.epoch, 4)
  })
})
