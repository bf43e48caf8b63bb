import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { loadTopology, type Topology } from '../../src/topology/load-topology.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { randomCards, startMs } from '../topology/card-events.js'
import { repositoryRoot } from './repository-root.js'

// training/variants.py makes it of card-attention: one step over a cache of the rows before, in place of their window.
const carried = 'card-attention-carried'
const models = mkdtempSync(join(tmpdir(), 'harrier-carried-'))
after(() => rmSync(models, { recursive: true, force: true }))
cpSync(join(repositoryRoot(), 'test', 'golden', 'forms', carried), join(models, carried), { recursive: true })
cpSync(join(modelsFolder, 'card-attention'), join(models, 'card-attention'), { recursive: true })

test('attention over a carried cache gives the bits of its window form, for out-of-order and late events too, in waves and after restarts', async () => {
  const shipped = loadTopology('card-fraud')
  const stage = { ...shipped.stage, models: { ...shipped.stage.models, champion: 'card-attention@1', shadows: [`${carried}@1`] }, policy: { ...shipped.stage.policy, fallback: 'review' as const } }
  const topology: Topology = { ...shipped, stage }
  const records = randomCards(18, 600, { customers: 6 })
  let driver = await TopologyTestDriver.open({ topology, models, startMs, workers: 2 })
  const seen = { late: 0, events: 0 }
  try {
    for (let from = 0; from < records.length; from += 150) {
      const { scored } = await driver.pipe(records.slice(from, from + 150))
      for (const { value } of scored) {
        const { event_id, late, scores } = value as { event_id: string; late: boolean; scores: { model: string; score: number }[] }
        const [window, step] = ['card-attention@1', `${carried}@1`].map((model) => scores.find((each) => each.model === model)!.score)
        assert.equal(step, window, `event ${event_id}`)
        seen.events++
        if (late) seen.late++
      }
      const next = await driver.restart()
      await driver.close()
      driver = next
    }
  } finally {
    await driver.close()
  }
  assert.ok(seen.events > 500 && seen.late > 5, JSON.stringify(seen))
})
