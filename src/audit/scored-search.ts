import { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { encodeString } from '../codec/avro-writer.js'
import { prefixBytes } from '../codec/registry-prefix.js'
import type { RecordLog } from './record-log.js'
import { ScoredDecoder, type ScoredEvent } from './scored-event.js'

export interface ScoredSearch {
  readonly topic: string
  readonly eventId: string
  /** Other ids under which it may stand on the topic. */
  readonly otherIds?: readonly string[] | undefined
  /** Where to look; undefined: in all partitions. */
  readonly partition?: number | undefined
  /** In that partition: not the record at this offset. */
  readonly except?: number | undefined
  /** About when it was scored (the timestamp of its record), ms; undefined: from the newest back. */
  readonly atMs?: number | undefined
  /** Records that are looked at before it is given up. */
  readonly scanMax: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress: (scanned: number, of: number) => void
}

/** Around `atMs` this much is searched. */
export const searchAroundMs = 3_600_000
/** Records that are read of a partition in one go. */
const windowRecords = 20_000

/** The newest scored event with this id. Errors: TOPIC_MISSING; NOT_FOUND when the search has ended without it. */
export async function findScored(log: RecordLog, search: ScoredSearch): Promise<ScoredEvent> {
  const { topic, eventId, otherIds = [], partition, except, atMs, scanMax, signal, onProgress } = search
  const count = await log.partitions(topic)
  if (count === undefined) throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic}`, { remedy: 'give --topology and --namespace as the engine runs' })
  if (partition !== undefined && partition >= count) throw new HarrierError('USAGE', `${topic} has ${count} partitions, there is no ${partition}`)
  const places = []
  for (const each of partition === undefined ? Array.from({ length: count }, (_, i) => i) : [partition]) {
    const bounds = await log.bounds(topic, each)
    if (!bounds) continue
    const from = atMs === undefined ? bounds.from : await log.offsetAtTime(topic, each, atMs - searchAroundMs)
    const to = atMs === undefined ? bounds.to : await log.offsetAtTime(topic, each, atMs + searchAroundMs)
    places.push({ partition: each, from, to })
  }
  const total = Math.min(scanMax, places.reduce((sum, { from, to }) => sum + to - from, 0))
  const decoder = new ScoredDecoder(log)
  const wanted = [eventId, ...otherIds].map(encodeString)
  let scanned = 0
  // The newest records of each partition in turn: what was scored last is asked for most.
  while (places.some(({ from, to }) => to > from) && scanned < scanMax) {
    for (const place of places) {
      if (place.to <= place.from || scanned >= scanMax) continue
      const from = Math.max(place.from, place.to - windowRecords)
      let found: { value: Uint8Array; offset: number; timestampMs: number } | undefined
      await log.read({ topic, partition: place.partition, from, to: place.to }, (columns) => {
        scanned += columns.count
        for (let row = 0; row < columns.count; row++) {
          if (columns.offset[row] !== except && wanted.some((id) => beginsWith(columns, row, id))) found = { value: Uint8Array.from(columns.value(row)!), offset: columns.offset[row]!, timestampMs: columns.timestamp[row]! }
        }
      }, signal)
      if (found) {
        const event = await decoder.decode(found.value, { partition: place.partition, offset: found.offset, timestampMs: found.timestampMs }, signal)
        if (event) return event
      }
      place.to = from
      onProgress(scanned, total)
    }
  }
  const more = scanned >= scanMax && places.some(({ from, to }) => to > from)
  throw new HarrierError('NOT_FOUND', `no scored event ${eventId} among ${scanned.toLocaleString('en')} records of ${topic}${more ? '; there are more' : ''}`, {
    remedy: more ? 'say where to look: --partition, --at <time>, or a larger --scan-max' : 'look at the id; a record that could not be scored is a dead letter, and what is older than the topic\'s retention may be in an archive (--archive)',
  })
}

/** The id is the first field of a scored event, so that most records need not be decoded. */
function beginsWith(columns: RecordColumns, row: number, wanted: Uint8Array): boolean {
  const at = columns.valueAt[row]! + prefixBytes
  if (columns.valueBytes[row]! < prefixBytes + wanted.length) return false
  const { bytes } = columns.arena
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  return true
}
