import { join } from 'node:path'
import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import { openSession, type Device } from './device.js'
import { runRows, timeRun } from './device-timing.js'
import { readGraph } from './graph.js'
import { manifestFile, modelSource, type LoadedModel } from './loaded-model.js'

/** Batch sizes that are measured, as far as a model takes them; its largest is measured too. */
const sizes: readonly number[] = [1, 8, 64, 256, 1024, 4096]

/** How long a run of one model takes on the CPU and on another device, by its rows. */
export interface Crossover {
  readonly model: string
  readonly device: Device
  /** Ascending. A run is one call on one thread, with the way of inputs to the device and of outputs back. */
  readonly runs: readonly { readonly rows: number; readonly cpuMs: number; readonly deviceMs: number }[]
  /** From this many rows on the device is faster; null = at no size that was measured. */
  readonly winsFromRows: number | null
  /** Why the model cannot run there; null = it can. */
  readonly problem: string | null
}

/** Measures a model on the CPU and on a device: some seconds. Errors: MODEL_INVALID. */
export async function measureCrossover(model: LoadedModel, device: Device, clock: Clock): Promise<Crossover> {
  const { manifest, reference } = model
  const source = modelSource(model)
  const cpu = (await openSession(source, reference, 'cpu')).session
  try {
    const graph = readGraph(cpu, manifest, join(model.folder, manifestFile))
    let session: typeof cpu
    try {
      session = (await openSession(source, reference, device)).session
    } catch (error) {
      return { model: reference, device, runs: [], winsFromRows: null, problem: messageOf(error).replace(`${reference} cannot run on ${device}: `, '') }
    }
    try {
      const wanted = new Set([...sizes, manifest.limits.batchRowsMax].map((rows) => runRows(manifest, graph, rows)))
      const runs: Crossover['runs'][number][] = []
      for (const rows of [...wanted].sort((a, b) => a - b)) {
        runs.push({ rows, cpuMs: await timeRun(cpu, graph, manifest, rows, clock), deviceMs: await timeRun(session, graph, manifest, rows, clock) })
      }
      return { model: reference, device, runs, winsFromRows: winsFrom(runs), problem: null }
    } finally {
      await session.release()
    }
  } finally {
    await cpu.release()
  }
}

/** The smallest measured size from which on the device is the faster one at every size; null = it is not at the largest. */
export function winsFrom(runs: Crossover['runs']): number | null {
  let from: number | null = null
  for (const { rows, cpuMs, deviceMs } of runs) {
    if (deviceMs >= cpuMs) from = null
    else from ??= rows
  }
  return from
}
