import assert from 'node:assert/strict'
import { Prng } from '../../src/base/prng.js'
import type { Explanation } from '../../src/inference/explainer.js'
import { NO_UPDATE, RESET, type Frame } from '../../src/inference/frame.js'
import type { ModelUse, Scorer, ScoreOptions } from '../../src/inference/scorer.js'
import { exportBytesMax, exportSlot } from '../../src/inference/slot-sections.js'

export interface ScheduledEvent {
  slot: number
  eventTime: number
  flags: number
  row: number[]
}

export interface ScheduleShape {
  readonly events: number
  readonly entities: number
  readonly features: number
  /** The first slot; each schedule has slots of its own. */
  readonly firstSlot: number
}

/** Seeded events of a few entities: most in order, some out-of-order (ties too), some late, some of an entity that has expired. */
export function makeSchedule(seed: number, { events, entities, features, firstSlot }: ScheduleShape): ScheduledEvent[] {
  const prng = new Prng(seed)
  const seen = new Set<number>()
  return Array.from({ length: events }, (_, index) => {
    // entity 0 is hot
    const slot = firstSlot + (prng.below(3) === 0 ? 0 : prng.below(entities))
    const kind = prng.uniform()
    let flags = 0
    if (!seen.has(slot) || kind < 0.03) flags |= RESET
    else if (kind < 0.13) flags |= NO_UPDATE
    seen.add(slot)
    const back = prng.uniform() < 0.25 ? prng.below(60) : 0
    const row = Array.from({ length: features }, () => Math.fround(1.5 * prng.normal()))
    return { slot, eventTime: 10 * Math.floor(index / 2) - back, flags, row }
  })
}

/** Cuts events into frames of seeded sizes from 1 to `rowsMax`. */
export function cut<T>(events: readonly T[], seed: number, rowsMax: number): T[][] {
  const prng = new Prng(seed)
  const parts: T[][] = []
  for (let from = 0; from < events.length; ) {
    const rows = 1 + prng.below(rowsMax)
    parts.push(events.slice(from, from + rows))
    from += rows
  }
  return parts
}

export function fill(frame: Frame, events: readonly ScheduledEvent[]): void {
  frame.count = events.length
  events.forEach(({ slot, eventTime, flags, row }, index) => {
    frame.slot[index] = slot
    frame.eventTime[index] = eventTime
    frame.flags[index] = flags
    frame.rows.set(row, index * row.length)
  })
}

export interface Scored {
  /** [event][model] */
  readonly scores: number[][]
  /** [event] */
  readonly explanations: (Omit<Explanation, 'row'> | null)[]
  /** [part] indexes of models that failed in it */
  readonly failed: number[][]
}

/** Scores parts one after another with `ahead` frames in flight. `options` gives those of a part. */
export async function scoreParts(
  scorer: Scorer, parts: readonly ScheduledEvent[][], ahead = 2, options: (part: number) => ScoreOptions = () => ({}),
): Promise<Scored> {
  const scores: number[][] = []
  const explanations: Scored['explanations'] = []
  const failed: number[][] = []
  const inFlight: { frame: Frame; done: Promise<void> }[] = []
  const take = async (): Promise<void> => {
    const { frame, done } = inFlight.shift()!
    await done
    for (let row = 0; row < frame.count; row++) {
      scores.push(frame.scores.map((column) => column[row]!))
      const { row: of, ...explanation } = frame.explanations.get(row) ?? { row: -1 }
      assert.ok(of < 0 || of === row, 'an explanation is of its row')
      explanations.push(of < 0 ? null : (explanation as Omit<Explanation, 'row'>))
    }
    failed.push(frame.failedModels)
    scorer.releaseFrame(frame)
  }
  for (const [index, part] of parts.entries()) {
    if (inFlight.length === ahead) await take()
    const frame = scorer.acquireFrame()!
    fill(frame, part)
    inFlight.push({ frame, done: scorer.score(frame, options(index)) })
  }
  while (inFlight.length > 0) await take()
  return { scores, explanations, failed }
}

/** Opens other models and lets them take over. */
export async function switchModels(scorer: Scorer, uses: readonly ModelUse[], release = scorer.inForce.release + 1): Promise<void> {
  await (await scorer.openModels(uses, release)).takeOver()
}

/** The logical contents of slots as text. */
export function contents({ memory }: Scorer, firstSlot: number, slots: number): string[] {
  memory.ensureSlots(firstSlot + slots)
  const bytes = new Uint8Array(exportBytesMax(memory))
  return Array.from({ length: slots }, (_, index) => Buffer.from(bytes.subarray(0, exportSlot(memory, firstSlot + index, bytes, 0))).toString('hex'))
}

/** Every byte of the sequence memory. */
export function allBytes({ memory }: Scorer): Buffer {
  return Buffer.concat(memory.chunks.flatMap((chunk) => [chunk.ring, ...chunk.hidden]).map((buffer) => Buffer.from(new Uint8Array(buffer))))
}
