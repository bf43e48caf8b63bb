import { rowsMaxLimit } from '../inference/frame.js'
import type { DeclaredStage, Limits, StageSpec } from './topology-schema.js'

export const dayMs = 86_400_000
/** A day's sweep takes the entities in this many segments, by the hashes of their keys. A power of two. */
export const sweepSegments = 4096

type Turned = Pick<DeclaredStage, 'grace' | 'ring' | 'upstreamSkew' | 'score'>

/** Whether a stage scores its entities when a day has turned. */
export function turnsDays({ score }: Pick<StageSpec, 'score'>): boolean {
  return score?.when === 'dayTurn'
}

/** Days since 1970 (UTC) to which no event can be added any more: those that ended `graceMs` or longer ago. */
export function endedDays(streamTimeMs: number, graceMs: number): number {
  return Math.max(0, Math.floor((streamTimeMs - graceMs) / dayMs))
}

/** The last moment of a day: its features are those of this time, ms. */
export function endOfDay(day: number): number {
  return (day + 1) * dayMs - 1
}

/**
 * Most days of one entity that can be due at once: it is active for `ring` days after its newest event, and that lies at most
 * `grace` behind what has ended, or by the skew of the upstream tasks ahead of it.
 */
export function dueDaysMax({ grace, ring, upstreamSkew }: Turned, place: number): number {
  return ring + Math.ceil((grace + (place === 0 ? 0 : upstreamSkew)) / dayMs) + 2
}

/** Rows of one batch's frame: an event brings its own and those of its entity's days that are due; a sweep brings some more. */
export function frameRowsMax(stage: Turned, place: number, { batchRecordsMax, turnedPerBatchMax }: Pick<Limits, 'batchRecordsMax' | 'turnedPerBatchMax'>): number {
  return turnsDays(stage as StageSpec) ? batchRecordsMax * (1 + dueDaysMax(stage, place)) + turnedPerBatchMax : batchRecordsMax
}

/** The largest `batchRecordsMax` whose frames are small enough. */
export function batchRecordsFor(stage: Turned, place: number, turnedPerBatchMax: number): number {
  return Math.floor((rowsMaxLimit - turnedPerBatchMax) / (1 + dueDaysMax(stage, place)))
}

const texts = new Map<number, Uint8Array>()

/** A day as UTF-8: 2024-01-31. */
export function dayText(day: number): Uint8Array {
  let text = texts.get(day)
  if (!text) {
    if (texts.size > 64) texts.clear()
    texts.set(day, (text = Buffer.from(new Date(day * dayMs).toISOString().slice(0, 10))))
  }
  return text
}
