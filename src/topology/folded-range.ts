import type { LineageRecord } from '../codec/lineage-codec.js'
import type { ScorerModel } from '../inference/scorer.js'
import { labelsToOf } from './task-lineage.js'

/** One batch of the journal as it is folded again; models in `skip` leave no state in it. */
export interface FoldedRange {
  readonly sequence: number
  readonly from: number
  readonly to: number
  /** Labels before this offset had come into effect by the end of the batch. */
  readonly labelsTo: number
  /** How far days had been turned by the end of the batch; see `Task.turnPosition`. */
  readonly turnsTo: number
  readonly skip: readonly number[]
  /** Schema ids that were unknown then, whatever the registry says now. */
  readonly unknownIds: ReadonlySet<number>
  /** How far events were let ahead then, whatever the topology says now. */
  readonly aheadMaxMs: number
}

export const noIds: ReadonlySet<number> = new Set()

/** The conditions under which a batch was folded, as its lineage record holds them. `inForce`: the models of now. */
export function foldedRange({ sequence, inputs, models, unknown_schema_ids, ahead_max_ms, turns_after }: LineageRecord, inForce: readonly ScorerModel[]): FoldedRange {
  return {
    sequence,
    from: inputs[0]!.from,
    to: inputs[0]!.to,
    labelsTo: labelsToOf({ inputs }),
    turnsTo: turns_after,
    skip: leftOut(inForce, models),
    unknownIds: unknown_schema_ids.length === 0 ? noIds : new Set(unknown_schema_ids),
    aheadMaxMs: ahead_max_ms ?? Infinity,
  }
}

/** Batches that can be folded as one. */
export function areAlike(a: FoldedRange, b: FoldedRange): boolean {
  return a.unknownIds.size === 0 && b.unknownIds.size === 0 && a.aheadMaxMs === b.aheadMaxMs && a.skip.length === b.skip.length && a.skip.every((model, index) => model === b.skip[index])
}

/**
 * Models of now that leave no state in a batch of then: those that failed in it, and those that were not in force, or by another
 * release. Slots that it touches are warmed before their next use, as they were when the model took over.
 */
function leftOut(inForce: readonly ScorerModel[], then: LineageRecord['models']): number[] {
  return inForce.flatMap(({ kind, sha256, epoch }, index) => {
    if (kind !== 'recurrent') return []
    return then.some((model) => model.sha256 === sha256 && model.epoch === epoch && model.failure === null) ? [] : [index]
  })
}
