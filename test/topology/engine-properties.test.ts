import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { TopologyTestDriver, type OpenBatch, type TestOutput, type TestOutputs, type TestRecord } from '../../src/topology/test-driver.js'
import { gruOperator, gruStep, rowModel, TestStore, windowDense, windowGru } from '../inference/test-models.js'
import { randomCards, smallTopology } from './card-events.js'

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

/** Scored events and dead letters without what a batch border may show in: the lineage sequence. */
function content({ scored, deadLetters }: TestOutputs): string[] {
  const inOrder = (outputs: TestOutput[]): TestOutput[] => [...outputs].sort((a, b) => a.partition - b.partition)
  return [
    ...inOrder(scored).map(({ value, partition, key, timestampMs }) => JSON.stringify({ ...(value as object), lineage: null, partition, key, timestampMs })),
    ...inOrder(deadLetters).map(({ bytes, headers }) => JSON.stringify({ bytes, headers })),
  ]
}

/** Compares long lists with a short message. */
function assertSame(actual: readonly string[], expected: readonly string[], what: string): void {
  const at = expected.findIndex((each, index) => each !== actual[index])
  if (at >= 0) assert.equal(actual[at], expected[at], `${what}: entry ${at} of ${expected.length}`)
  assert.equal(actual.length, expected.length, what)
}

const bytesOf = (outputs: readonly TestOutput[]): string[] => outputs.map(({ bytes }) => bytes?.toString('hex') ?? 'null')
const digestsOf = (driver: TopologyTestDriver): string[] => [...driver.stateDigests()].map(([name, digest]) => `${name} ${digest}`)
/** Entities only: the sequence of a task depends on its batches. */
const entitiesOf = (driver: TopologyTestDriver): string[] => digestsOf(driver).filter((line) => line.includes('/'))

function split<T>(prng: Prng, all: readonly T[], max: number): T[][] {
  const parts: T[][] = []
  for (let at = 0; at < all.length; ) {
    const size = 1 + prng.below(max)
    parts.push(all.slice(at, at + size))
    at += size
  }
  return parts
}

async function pipeIn(driver: TopologyTestDriver, parts: readonly TestRecord[][], advanceMsMax = 0): Promise<TestOutputs> {
  const all: TestOutputs = { scored: [], alerts: [], deadLetters: [], lineage: [], state: [], forwarded: [] }
  for (const part of parts) {
    if (advanceMsMax > 0) driver.clock.advance(part.length % advanceMsMax)
    const outputs = await driver.pipe(part)
    for (const sink of ['scored', 'alerts', 'deadLetters', 'lineage', 'state'] as const) all[sink].push(...(outputs[sink] as never[]))
  }
  return all
}

describe('a task is a deterministic fold', () => {
  const store = new TestStore()
  const topology = smallTopology({ shadows: ['operator@1', 'window@1', 'windowgru@1', 'row@1'], ttl: '30d', limits: 'checkpointIntervalMs: 100ms' })
  before(() => {
    store.add('gru', gruStep())
    store.add('operator', { bytes: gruOperator().bytes, manifest: gruOperator().manifest })
    store.add('window', windowDense())
    store.add('windowgru', windowGru())
    store.add('row', rowModel())
  })
  after(() => store.remove())
  const open = (workers = 0): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology, models: store.root, partitions: 2, workers })

  it('any split of the input into batches gives the same scored events, bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const records = randomCards(seed, 150, { broken: true })
        const [whole, parts] = await Promise.all([open(), open()])
        assertSame(content(await pipeIn(parts, split(new Prng(seed), records, 40))), content(await whole.pipe(records, 64)), 'outputs')
        assertSame(entitiesOf(parts), entitiesOf(whole), 'entities')
        await Promise.all([whole.close(), parts.close()])
      }),
      { numRuns: 10, endOnFailure: true },
    )
  })

  it('any number of threads gives the same scored events, bit for bit', async () => {
    const drivers = await Promise.all([open(0), open(1), open(2), open(3)])
    const records = randomCards(11, 600, { broken: true, customers: 40 })
    const [inline, ...threaded] = await Promise.all(drivers.map(async (driver, i) => content(await pipeIn(driver, split(new Prng(i), records, 64)))))
    for (const outputs of threaded) assertSame(outputs, inline!, 'outputs')
    for (const driver of drivers) assertSame(entitiesOf(driver), entitiesOf(drivers[0]), 'entities')
    await Promise.all(drivers.map((driver) => driver.close()))
  })

  it('batches that are rolled back leave no trace: in no entity, no task, no later score', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const prng = new Prng(seed)
        const [driver, twin] = await Promise.all([open(), open()])
        for (const part of split(prng, randomCards(seed, 120, { broken: true }), 30)) {
          if (prng.below(2) === 0) {
            const before = digestsOf(driver)
            const strangers = split(prng, randomCards(seed + 1, 1 + prng.below(60), { broken: true, customers: 12 }), 30)
            const open: OpenBatch[] = []
            for (const batch of strangers.slice(0, 2)) open.push(await driver.fold(batch))
            for (const batch of open.reverse()) driver.rollback(batch)
            assertSame(digestsOf(driver), before, 'state after a rollback')
          }
          const passes = prng.below(60)
          driver.clock.advance(passes)
          twin.clock.advance(passes)
          const [outputs, expected] = [await driver.pipe(part), await twin.pipe(part)]
          for (const sink of ['scored', 'alerts', 'deadLetters', 'lineage', 'state'] as const) {
            assertSame(bytesOf(outputs[sink]), bytesOf(expected[sink]), sink)
          }
          assertSame(digestsOf(driver), digestsOf(twin), 'state')
        }
        await Promise.all([driver.close(), twin.close()])
      }),
      { numRuns: 10, endOnFailure: true, examples: [[26]] },
    )
  })

  it('a state restored from changelog, lineage and input equals the live one, and scores on alike', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const prng = new Prng(seed)
        const records = randomCards(seed, 200, { broken: true })
        const driver = await open()
        // With checkpoints at all ages: the changelog covers some entities, and of some their older state.
        await pipeIn(driver, split(prng, records.slice(0, 140), 1 + prng.below(40)), 10)
        const restored = await driver.restart()
        assertSame(digestsOf(restored), digestsOf(driver), 'state')
        const [live, again] = [await driver.pipe(records.slice(140)), await restored.pipe(records.slice(140))]
        assertSame(bytesOf(again.scored), bytesOf(live.scored), 'scored')
        // The restored process begins with a checkpoint of all that is dirty.
        const ranges = ({ lineage }: TestOutputs): string[] => lineage.map(({ value }) => JSON.stringify({ ...value, oldest_dirty: 0 }))
        assertSame(ranges(again), ranges(live), 'lineage')
        await Promise.all([driver.close(), restored.close()])
      }),
      { numRuns: 10, endOnFailure: true },
    )
  })

  it('a restart under another layout of windows and features is refused, by name', async () => {
    const driver = await open()
    await driver.pipe(randomCards(3, 20))
    const other = smallTopology({ shadows: ['operator@1', 'window@1', 'windowgru@1', 'row@1'], ttl: '31d', limits: 'checkpointIntervalMs: 100ms' })
    await assert.rejects(driver.restart({ topology: other }), { code: 'LAYOUT_CHANGED' })
    await driver.close()
  })
})
