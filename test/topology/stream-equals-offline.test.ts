import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { loadModelFolder } from '../../src/inference/model-store.js'
import { exportFeatures } from '../../src/topology/export-features.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { repositoryRoot } from '../golden/repository-root.js'
import { delayMs, epochMs, paymentRecords, payments, paymentsCsv } from './labelled-payments.js'

interface Row {
  readonly id: string
  readonly entity: string
  readonly features: Float32Array
}

async function readRows(file: string, features: readonly string[]): Promise<Row[]> {
  const duck = await DuckDBInstance.create(':memory:')
  const connection = await duck.connect()
  try {
    const rows = await (await connection.run(`SELECT event_id, entity, ${features.map((name) => `"${name}"`).join(', ')} FROM '${file}'`)).getRows()
    return rows.map(([id, entity, ...values]) => ({ id: String(id), entity: String(entity), features: Float32Array.from(values as number[]) }))
  } finally {
    connection.closeSync()
    duck.closeSync()
  }
}

/** Scores by event id, row by row with onnxruntime alone: windows and states are kept here. */
async function offlineScores({ manifest, file }: LoadedModel, rows: readonly Row[]): Promise<Map<string, number>> {
  const session = await InferenceSession.create(file, { executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1 })
  const width = manifest.features.length
  const windows = new Map<string, Float32Array>()
  const states = new Map<string, Float32Array>()
  const found = new Map<string, number>()
  const hidden = manifest.states[0]?.shape[0] ?? 0
  for (const { id, entity, features } of rows) {
    const feeds: Record<string, Tensor> = { x: new Tensor('float32', features, [1, width]) }
    if (manifest.kind === 'window') {
      const window = manifest.window ?? 0
      const next = new Float32Array(window * width)
      next.set((windows.get(entity) ?? next).subarray(width))
      next.set(features, (window - 1) * width)
      windows.set(entity, next)
      feeds.x = new Tensor('float32', next, [1, window, width])
    }
    if (manifest.kind === 'recurrent') feeds.h = new Tensor('float32', states.get(entity) ?? new Float32Array(hidden), [1, hidden])
    const result = await session.run(feeds)
    found.set(id, (result.score!.data as Float32Array)[0]!)
    if (manifest.kind === 'recurrent') states.set(entity, (result.h_next!.data as Float32Array).slice())
  }
  await session.release()
  return found
}

describe('card-terminal, scored as a stream and offline', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-offline-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const topology = loadTopology('card-terminal')
  const rows = payments(1500)

  async function streamed(batchRecordsMax: number): Promise<Map<string, Map<string, number>>> {
    const driver = await TopologyTestDriver.open({ topology, partitions: 1, startMs: epochMs })
    const { events, labels } = paymentRecords(rows)
    await driver.label(labels)
    const { scored } = await driver.pipe(events, batchRecordsMax)
    await driver.close()
    const found = new Map<string, Map<string, number>>()
    for (const { value } of scored) {
      const { event_id, scores } = value as { event_id: string; scores: { model: string; score: number }[] }
      // The driver shows a float32 by its shortest decimal.
      for (const { model, score } of scores) found.set(model, (found.get(model) ?? new Map<string, number>()).set(event_id, Math.fround(score)))
    }
    return found
  }

  it('gives the bits that onnxruntime gives for the rows of harrier features, for every model of the last stage', async () => {
    const csv = join(folder, 'payments.csv')
    const out = join(folder, 'rows.parquet')
    writeFileSync(csv, paymentsCsv(rows))
    const last = topology.chain.at(-1)!
    const result = await exportFeatures({ topology: last, from: csv, out, columns: {}, epochMs, labelDelayMs: delayMs, clock: systemClock, logger: silentLogger, onProgress: () => undefined })
    assert.equal(result.rows, rows.length)
    const { champion, shadows = [] } = last.stage.models!
    const references = [champion!, ...shadows]
    const stream = await streamed(97)
    assert.deepEqual([...stream.keys()].sort(), references.sort())
    for (const reference of references) {
      const [name, version] = reference.split('@') as [string, string]
      const model = loadModelFolder(join(repositoryRoot(), 'models', name, version))
      const offline = await offlineScores(model, await readRows(out, model.manifest.features))
      assert.equal(offline.size, rows.length)
      const others = [...offline].filter(([id, score]) => !Object.is(stream.get(reference)!.get(id), score))
      assert.deepEqual(others, [], `${reference}: scores with other bits`)
      const scores = [...offline.values()]
      assert.ok(Math.max(...scores) > 0.5 && Math.min(...scores) < 0.05, `${reference} tells frauds from others`)
    }
  })
})
