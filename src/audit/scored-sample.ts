import { Prng } from '../base/prng.js'
import type { RecordLog } from './record-log.js'
import { ScoredDecoder, type ScoredEvent } from './scored-event.js'

export interface SampleOptions {
  readonly topic: string
  readonly partition: number | undefined
  readonly count: number
  readonly seed: number
  readonly signal: AbortSignal
}

/** Drawn offsets that are closer than this are read together. */
const neighboursMax = 32
/** Offsets that are drawn for an event of the sample at most: some are no events, but markers of transactions and records of aborted ones. */
const drawsPerEventMax = 20

interface Place {
  readonly partition: number
  readonly from: number
  readonly to: number
}

/** Scored events of a topic, drawn by seed: each is as likely as any other. Fewer where there are no more. */
export async function sampleScored(log: RecordLog, { topic, partition, count, seed, signal }: SampleOptions): Promise<ScoredEvent[]> {
  const partitions = (await log.partitions(topic)) ?? 0
  const places: Place[] = []
  for (const each of partition === undefined ? Array.from({ length: partitions }, (_, i) => i) : [partition]) {
    const bounds = await log.bounds(topic, each)
    if (bounds && bounds.to > bounds.from) places.push({ partition: each, ...bounds })
  }
  const draws = new Draws(places.reduce((sum, { from, to }) => sum + to - from, 0), new Prng(seed))
  const decoder = new ScoredDecoder(log)
  const found: ScoredEvent[] = []
  while (found.length < count && draws.left > 0 && draws.drawn < count * drawsPerEventMax) {
    const drawn = new Map<Place, number[]>(places.map((place) => [place, []]))
    for (let wanted = Math.min(count - found.length, draws.left); wanted > 0; wanted--) {
      let at = draws.next()
      const place = places.find(({ from, to }) => (at < to - from ? true : ((at -= to - from), false)))!
      drawn.get(place)!.push(place.from + at)
    }
    for (const [place, offsets] of drawn) found.push(...(await readOffsets(log, { topic, partition: place.partition, offsets, decoder, signal })))
  }
  return found
}

/** The scored events at some offsets of a partition; an offset may hold none. */
async function readOffsets(log: RecordLog, { topic, partition, offsets, decoder, signal }: { topic: string; partition: number; offsets: number[]; decoder: ScoredDecoder; signal: AbortSignal }): Promise<ScoredEvent[]> {
  const found: ScoredEvent[] = []
  offsets.sort((a, b) => a - b)
  for (let first = 0, after = 0; first < offsets.length; first = after) {
    after = first + 1
    while (after < offsets.length && offsets[after]! - offsets[after - 1]! < neighboursMax) after++
    const wanted = new Set(offsets.slice(first, after))
    await log.read({ topic, partition, from: offsets[first]!, to: offsets[after - 1]! + 1 }, async (columns) => {
      for (let row = 0; row < columns.count; row++) {
        const offset = columns.offset[row]!
        if (!wanted.has(offset)) continue
        const event = await decoder.decode(columns.value(row), { partition, offset, timestampMs: columns.timestamp[row]! }, signal)
        if (event) found.push(event)
      }
    }, signal)
  }
  return found
}

/** Numbers below a total, each once. Source: the shuffle of Fisher and Yates, of which only what has moved is kept. */
class Draws {
  readonly #total: number
  readonly #prng: Prng
  readonly #moved = new Map<number, number>()
  drawn = 0

  constructor(total: number, prng: Prng) {
    this.#total = total
    this.#prng = prng
  }

  get left(): number {
    return this.#total - this.drawn
  }

  next(): number {
    const at = this.drawn + this.#prng.below(this.left)
    const number = this.#moved.get(at) ?? at
    this.#moved.set(at, this.#moved.get(this.drawn) ?? this.drawn)
    this.drawn++
    return number
  }
}
