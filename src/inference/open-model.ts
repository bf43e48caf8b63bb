import { join } from 'node:path'
import type { InferenceSession } from 'onnxruntime-node'
import { systemClock } from '../base/clock.js'
import { digestOf } from '../base/digest.js'
import { probeRowsMultiple } from './batch-probe.js'
import { openSession, type DeviceContest, type DeviceInUse, type DevicePolicy } from './device.js'
import { runRows, timeRun } from './device-timing.js'
import type { RunnableModel } from './model-runner.js'
import { manifestFile, modelSource, type LoadedModel } from './loaded-model.js'
import { readGraph, type Graph } from './graph.js'

/** What a thread needs to open a model; plain data, sent to workers. */
export interface ModelToOpen {
  readonly model: LoadedModel
  readonly epoch: number
  readonly policy: DevicePolicy
  /** Null = probe for it. */
  readonly rowsMultiple: number | null
  /** What `auto` compares devices with: rows of a batch that come to this thread, and the threads that run models. */
  readonly load?: { readonly rows: number; readonly workers: number }
}

export interface OpenModel extends RunnableModel, DeviceInUse {
  readonly epoch: number
  /** See `ScorerModel`. */
  readonly openedBytes: number
}

/** By what a model that is open is found again: its files, and all that its manifest says of them. */
export function openingKey({ folder, manifest }: LoadedModel): string {
  return digestOf({ folder, manifest })
}

/**
 * Opens a model: checks its files' sha256, creates the session, compares the graph with the manifest, and finds the
 * batch sizes that keep scores independent of the batch. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE.
 */
export async function openModel({ model, epoch, policy, rowsMultiple, load }: ModelToOpen): Promise<OpenModel> {
  const { manifest, reference } = model
  const before = process.memoryUsage.rss()
  const read = (opened: InferenceSession): Graph => readGraph(opened, manifest, join(model.folder, manifestFile))
  const contest = (opened: InferenceSession): DeviceContest => {
    const graph = read(opened)
    const rows = runRows(manifest, graph, load?.rows ?? manifest.limits.batchRowsMax)
    return { rows, workers: load?.workers ?? 1, timeRun: (timed) => timeRun(timed, graph, manifest, rows, systemClock) }
  }
  const { session, device, deviceNote } = await openSession(modelSource(model), reference, policy, contest)
  const graph = read(session)
  const multiple = rowsMultiple ?? (await probeRowsMultiple(session, graph, manifest))
  return { manifest, session, graph, epoch, device, deviceNote, rowsMultiple: multiple, openedBytes: Math.max(0, process.memoryUsage.rss() - before) }
}
