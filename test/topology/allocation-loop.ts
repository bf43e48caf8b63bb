// Prints, as JSON, the bytes that the engine allocates for an event when its code is warm, by function. Run by allocation.test.ts.
import { createSecretKey } from 'node:crypto'
import { Session, type HeapProfiler } from 'node:inspector/promises'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { Prng } from '../../src/base/prng.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { ModelStore } from '../../src/inference/model-store.js'
import { loadTopology, type Topology } from '../../src/topology/load-topology.js'
import { modelsFolder, stageCategories } from '../../src/topology/open-scorer.js'
import { Outputs } from '../../src/topology/outputs.js'
import { Stage } from '../../src/topology/stage.js'

const batchRecords = 2000
const warmBatches = 25
const measuredBatches = 15
/** V8 notes one allocation in so many bytes. */
const samplingBytes = 4096

/** Decodes, folds, scores, decides and encodes the same payments again and again, as the engine does with each batch. */
async function makeLoop({ tokens = false } = {}): Promise<{ run(batches: number): Promise<void>; close(): Promise<void> }> {
  const shipped = loadTopology('card-fraud')
  const { spec, stage: shippedStage } = shipped
  const model = new ModelStore(modelsFolder).load('card-gru@1')
  const oneModel = { ...shippedStage, models: { ...shippedStage.models, champion: model.reference, shadows: [] }, policy: { ...shippedStage.policy, fallback: 'review' as const, reasons: 0, ...(tokens ? { attributes: ['customer', 'amount', 'terminal'] } : {}) } }
  const personal = tokens ? { domains: new Map([['customer', 'customer'], ['amount', 'amount']]), entity: true, tokens: true, paths: [] } : undefined
  const topology: Topology = { ...shipped, readerSchema: undefined, spec: { ...spec, source: { ...spec.source, format: 'json' } }, stage: oneModel, personal }
  const features = shippedStage.features.map(({ name }) => name)
  const options = { features, categories: stageCategories(shippedStage), window: shippedStage.ring, models: [{ model, role: 'champion' as const }], device: 'cpu' as const, workers: 1, clock: systemClock, logger: silentLogger }
  const scorer = await createScorer({ ...options, limits: { rowsMax: batchRecords, framesMax: 4 } })
  const stage = new Stage(topology, scorer, undefined)
  stage.addTask(0).isReady = true
  const keys = tokens ? { tokens: [1, 2].map((version) => ({ version, id: '', key: createSecretKey(Buffer.alloc(32, version)) })) } : {}
  const outputs = new Outputs(stage, { schemaIds: { scored: 1, alert: 2, lineage: 3 }, inputTopic: 'in', partitions: 1, transactionalId: 't', engine: { harrier: '', onnxruntime: '', node: '', device_class: '' }, ...keys })
  const random = new Prng(5)
  const batch = stage.makeBatch()
  let timeMs = 1_522_540_800_000
  let offset = 0
  const run = async (batches: number): Promise<void> => {
    for (let i = 0; i < batches; i++) {
      batch.reset()
      for (let row = 0; row < batchRecords; row++) {
        timeMs += random.below(2000)
        const customer = `c${random.below(500)}`
        const value = { transaction_id: offset, event_time: timeMs, customer_id: customer, terminal_id: `t${random.below(40)}`, amount_minor: 1 + random.below(tokens ? 200 : 40_000) }
        batch.records.append(0, 0, offset++, timeMs, Buffer.from(customer), Buffer.from(JSON.stringify(value)))
      }
      stage.fold(batch)
      await stage.score(batch)
      outputs.decide(batch)
      outputs.encode(batch)
      stage.commit(batch)
    }
  }
  return { run, close: () => scorer.close() }
}

/** Bytes that were allocated in functions of the engine, by function; what the loop itself makes is left out. */
function bytesOfEngine(node: HeapProfiler.SamplingHeapProfileNode, found = new Map<string, number>()): Map<string, number> {
  const { functionName, url, lineNumber } = node.callFrame
  if (/\/src\/(?!base\/prng)/.test(url)) {
    const name = `${functionName} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`
    found.set(name, (found.get(name) ?? 0) + node.selfSize)
  }
  for (const child of node.children) bytesOfEngine(child, found)
  return found
}

const loop = await makeLoop({ tokens: process.argv.includes('--tokens') })
await loop.run(warmBatches)
const session = new Session()
session.connect()
await session.post('HeapProfiler.startSampling', { samplingInterval: samplingBytes, includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true })
await loop.run(measuredBatches)
const { profile } = await session.post('HeapProfiler.stopSampling')
session.disconnect()
await loop.close()
const events = measuredBatches * batchRecords
process.stdout.write(JSON.stringify([...bytesOfEngine(profile.head)].map(([name, bytes]) => [name, bytes / events])))
