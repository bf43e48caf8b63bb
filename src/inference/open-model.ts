import { join } from 'node:path'
import { probeRowsMultiple } from './batch-probe.js'
import { openSession, type DeviceInUse, type DevicePolicy } from './device.js'
import type { RunnableModel } from './model-runner.js'
import { manifestFile, modelSource, type LoadedModel } from './model-store.js'
import { readGraph } from './graph.js'

/** What a thread needs to open a model; plain data, sent to workers. */
export interface ModelToOpen {
  readonly model: LoadedModel
  readonly epoch: number
  readonly policy: DevicePolicy
  /** Null = probe for it. */
  readonly rowsMultiple: number | null
}

export interface OpenModel extends RunnableModel, DeviceInUse {
  readonly epoch: number
  /** See `ScorerModel`. */
  readonly openedBytes: number
}

/**
 * Opens a model: checks its files' sha256, creates the session, compares the graph with the manifest, and finds the
 * batch sizes that keep scores independent of the batch. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE.
 */
export async function openModel({ model, epoch, policy, rowsMultiple }: ModelToOpen): Promise<OpenModel> {
  const { manifest, reference } = model
  const before = process.memoryUsage.rss()
  const { session, device, deviceNote } = await openSession(modelSource(model), reference, policy)
  const graph = readGraph(session, manifest, join(model.folder, manifestFile))
  const multiple = rowsMultiple ?? (await probeRowsMultiple(session, graph, manifest))
  return { manifest, session, graph, epoch, device, deviceNote, rowsMultiple: multiple, openedBytes: Math.max(0, process.memoryUsage.rss() - before) }
}
