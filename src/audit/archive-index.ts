import { z } from 'zod'
import { HarrierError } from '../base/errors.js'
import type { ArchiveStore } from './archive-store.js'

const segmentSchema = z.strictObject({
  topic: z.string(),
  partition: z.number().int(),
  /** Offsets [from, to) are covered. */
  from: z.number().int(),
  to: z.number().int(),
  records: z.number().int(),
  object: z.string(),
  sha256: z.string(),
  /** Timestamps of its records, ms; null: it has none. */
  firstMs: z.number().nullable(),
  lastMs: z.number().nullable(),
})

const indexSchema = z.strictObject({
  format: z.literal(1),
  topology: z.string(),
  namespace: z.string().nullable(),
  /** Partitions of each topic. */
  topics: z.record(z.string(), z.number().int()),
  segments: z.array(segmentSchema),
  /** sha256 of a topology -> the object of its file. */
  topologies: z.record(z.string(), z.string()),
  /** As lineage names them: those of which the files are here. */
  models: z.array(z.strictObject({ model: z.string(), sha256: z.string(), manifest: z.string().default('') })),
})

export type ArchiveIndex = z.infer<typeof indexSchema>
export type Segment = z.infer<typeof segmentSchema>

export const indexObject = 'archive.json'

/** Undefined where there is no archive yet. Errors: CONFIG_INVALID where the index cannot be read. */
export async function readIndex(store: ArchiveStore): Promise<ArchiveIndex | undefined> {
  const text = await store.readText(indexObject)
  if (text === undefined) return undefined
  try {
    return indexSchema.parse(JSON.parse(text))
  } catch (error) {
    throw new HarrierError('CONFIG_INVALID', `${store.name}/${indexObject} is no index of an archive`, { cause: error, remedy: 'restore it from a copy of the archive' })
  }
}

export function emptyIndex(topology: string, namespace: string | undefined): ArchiveIndex {
  return { format: 1, topology, namespace: namespace ?? null, topics: {}, segments: [], topologies: {}, models: [] }
}

export async function writeIndex(store: ArchiveStore, index: ArchiveIndex): Promise<void> {
  await store.writeText(indexObject, `${JSON.stringify(index, null, 1)}\n`)
}

export function segmentsOf({ segments }: ArchiveIndex, topic: string, partition: number): Segment[] {
  return segments.filter((each) => each.topic === topic && each.partition === partition).sort((a, b) => a.from - b.from)
}

/** How far an archive reaches: by topic, the offsets and times that it covers, and where something is missing between. */
export interface Reach {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
  readonly records: number
  readonly firstMs: number | null
  readonly lastMs: number | null
  readonly gaps: readonly { readonly from: number; readonly to: number }[]
}

export function reachOf(index: ArchiveIndex): Reach[] {
  return Object.entries(index.topics).flatMap(([topic, partitions]) =>
    Array.from({ length: partitions }, (_, partition) => {
      const segments = segmentsOf(index, topic, partition)
      const times = segments.flatMap(({ firstMs, lastMs }) => (firstMs === null || lastMs === null ? [] : [firstMs, lastMs]))
      return {
        topic,
        partition,
        from: segments[0]?.from ?? 0,
        to: segments.at(-1)?.to ?? 0,
        records: segments.reduce((sum, { records }) => sum + records, 0),
        firstMs: times.length === 0 ? null : Math.min(...times),
        lastMs: times.length === 0 ? null : Math.max(...times),
        gaps: segments.slice(1).flatMap((segment, i) => (segment.from > segments[i]!.to ? [{ from: segments[i]!.to, to: segment.from }] : [])),
      }
    }),
  )
}
