import type { Clock } from '../../src/base/clock.js'
import { Prng } from '../../src/base/prng.js'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import type { SchemaLookup } from '../../src/codec/registry-client.js'
import { frameRowsMax } from '../../src/topology/day-calendar.js'
import type { Topology } from '../../src/topology/load-topology.js'
import { Sink } from '../../src/topology/names.js'
import { Outputs, type OutputOptions } from '../../src/topology/outputs.js'
import { Stage } from '../../src/topology/stage.js'
import { appendTo, type MemoryRecord } from './memory-broker.js'
import type { SimulatedReleases } from './simulated-releases.js'
import { usesOf } from './simulated-releases.js'
import { SimulatedScorer } from './simulated-scorer.js'

export interface TellingOptions {
  readonly topology: Topology
  readonly registry: SchemaLookup
  readonly releases: SimulatedReleases
  readonly outputs: OutputOptions
  readonly partition: number
  readonly input: readonly MemoryRecord[]
  readonly lineage: readonly LineageRecord[]
}

/** Nothing waits. */
const noTime: Clock = { nowMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve(), every: () => () => undefined }

/**
 * The scored events of a partition as an engine would have written them that was never interrupted, and whose models took over
 * where the lineage says that they did: what must come out, whatever happened on the way.
 */
export async function tellAgain({ topology, registry, releases, outputs: options, partition, input, lineage }: TellingOptions): Promise<Buffer[]> {
  const scorer = new SimulatedScorer(noTime, new Prng(1), { window: topology.stage.ring, rowsMax: Math.max(64, frameRowsMax(topology.stage, 0, topology.spec.limits)) }, usesOf(releases.at(0)), 0)
  const stage = new Stage(topology, scorer, registry)
  const outputs = new Outputs(stage, options)
  const task = stage.addTask(partition)
  const batch = stage.makeBatch()
  const scored: Buffer[] = []
  for (const { sequence, inputs, release, turns_before, turns_after } of lineage) {
    const { from, to } = inputs[0]!
    if (from === to && turns_before === turns_after) continue
    if (release !== scorer.inForce.release) await (await scorer.openModels(usesOf(releases.at(release)), release)).takeOver()
    batch.reset()
    for (let offset = from; offset < to; offset++) appendTo(batch.records, partition, offset, input[offset]!)
    task.nextSequence = sequence
    // Days turn as far as they did then.
    batch.sweepTo = turns_after
    if (from === to) batch.partFor(task, from)
    const loading = stage.decoder.prepare(batch.records, 0)
    if (loading) await loading
    stage.fold(batch)
    await stage.score(batch)
    outputs.decide(batch)
    outputs.encode(batch)
    for (let row = 0; row < batch.outputs.count; row++) {
      if (batch.outputs.topic[row] === Sink.scored) scored.push(Buffer.from(batch.outputs.value(row)!))
    }
    stage.commit(batch)
  }
  return scored
}
