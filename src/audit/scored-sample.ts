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

/** Records that are read around a drawn offset. */
const drawnRecords = 32

/** Scored events of a topic, drawn by seed: every offset is as likely as any other. Fewer where there are no more. */
export async function sampleScored(log: RecordLog, { topic, partition, count, seed, signal }: SampleOptions): Promise<ScoredEvent[]> {
  const partitions = (await log.partitions(topic)) ?? 0
  const places: { partition: number; from: number; to: number }[] = []
  for (const each of partition === undefined ? Array.from({ length: partitions }, (_, i) => i) : [partition]) {
    const bounds = await log.bounds(topic, each)
    if (bounds && bounds.to > bounds.from) places.push({ partition: each, ...bounds })
  }
  const total = places.reduce((sum, { from, to }) => sum + to - from, 0)
  const prng = new Prng(seed)
  const drawn = new Map<number, Set<number>>(places.map((place) => [place.partition, new Set<number>()]))
  for (let drawnCount = 0, tries = 0; drawnCount < Math.min(count, total) && tries < count * 20; tries++) {
    let at = prng.below(total)
    const place = places.find(({ from, to }) => (at < to - from ? true : ((at -= to - from), false)))!
    const offsets = drawn.get(place.partition)!
    if (offsets.has(place.from + at)) continue
    offsets.add(place.from + at)
    drawnCount++
  }
  const decoder = new ScoredDecoder(log)
  const found = new Map<string, ScoredEvent>()
  for (const { partition: own, to: end } of places) {
    const offsets = [...drawn.get(own)!].sort((a, b) => a - b)
    while (offsets.length > 0) {
      // Neighbours are read together.
      const from = offsets[0]!
      let to = from + drawnRecords
      while (offsets.some((offset) => offset >= to && offset < to + drawnRecords)) to += drawnRecords
      const wanted = offsets.filter((offset) => offset < to)
      offsets.splice(0, wanted.length)
      await log.read({ topic, partition: own, from, to: Math.min(end, to) }, async (columns) => {
        for (let row = 0; row < columns.count && wanted.length > 0; row++) {
          // An offset may be a transaction's marker: the record after it stands in.
          if (columns.offset[row]! < wanted[0]!) continue
          wanted.shift()
          const event = await decoder.decode(columns.value(row), { partition: own, offset: columns.offset[row]!, timestampMs: columns.timestamp[row]! }, signal)
          if (event) found.set(`${own}/${event.offset}`, event)
        }
      }, signal)
    }
  }
  return [...found.values()]
}
