import type { InferenceSession } from 'onnxruntime-node'
import type { Clock } from '../base/clock.js'
import { feedsOf, makeProbe } from './batch-probe.js'
import type { Graph } from './graph.js'
import type { Manifest } from './manifest.js'

/** The first runs compile kernels and fill pools of memory. */
const warmRuns = 3
const timedRunsMin = 3
const timedRunsMax = 25
/** After this no further run begins: of warming and of timing each. */
const timingMsMax = 250

/** Rows of the largest run that a batch of `rows` makes of a model. */
export function runRows({ limits }: Manifest, { fixedBatch }: Graph, rows: number): number {
  return fixedBatch ?? Math.min(rows, limits.batchRowsMax)
}

/**
 * Milliseconds of a run with `rows` rows: the median of several, with the way of inputs to the device and of outputs back.
 * Takes half a second, or three runs if those take longer.
 */
export async function timeRun(session: InferenceSession, graph: Graph, manifest: Manifest, rows: number, clock: Clock): Promise<number> {
  const feeds = feedsOf(makeProbe(graph, manifest), rows, 0)
  const one = async (): Promise<number> => {
    const startMs = clock.monotonicMs()
    await session.run(feeds)
    return clock.monotonicMs() - startMs
  }
  const beganMs = clock.monotonicMs()
  for (let run = 0; run < warmRuns && clock.monotonicMs() - beganMs < timingMsMax; run++) await one()
  const warmMs = clock.monotonicMs()
  const times: number[] = []
  while (times.length < timedRunsMax && (times.length < timedRunsMin || clock.monotonicMs() - warmMs < timingMsMax)) times.push(await one())
  return times.sort((a, b) => a - b)[times.length >> 1]!
}
