import { basename, dirname, join } from 'node:path'
import { DuckDBInstance, type DuckDBBlobVector, type DuckDBDataChunk } from '@duckdb/node-api'
import { HarrierError } from '../base/errors.js'
import { RecordColumns } from '../base/record-columns.js'
import { UnknownSchemaIdError } from '../codec/registry-client.js'
import { quotedText, type TableColumn } from '../replay/column-appender.js'
import type { ModelLibrary } from '../inference/model-store.js'
import { loadTopology, type Topology } from '../topology/load-topology.js'
import { readIndex, segmentsOf, type ArchiveIndex, type Segment } from './archive-index.js'
import type { ArchiveStore } from './archive-store.js'
import type { LogBounds, LogRange, RecordLog } from './record-log.js'
import { Unavailable } from './unavailable.js'

/** Columns of a segment. `headers` as the engine packs them: for each u16 name length, i32 value length (-1: null), name, value; big-endian. */
export const segmentColumns = [
  { name: 'offset', type: 'long' },
  { name: 'timestamp', type: 'long' },
  { name: 'key', type: 'bytes' },
  { name: 'value', type: 'bytes' },
  { name: 'headers', type: 'bytes' },
] as const satisfies readonly TableColumn[]

export function schemaObject(id: number): string {
  return `schemas/${id}.json`
}

/** Records of an archive, as of a topic. Each segment is compared with its sha256 before it is read. */
export class ArchiveLog implements RecordLog {
  readonly index: ArchiveIndex
  readonly #store: ArchiveStore
  readonly #schemas = new Map<number, object>()

  /** Errors: NOT_FOUND where there is none. */
  static async open(store: ArchiveStore): Promise<ArchiveLog> {
    const index = await readIndex(store)
    if (!index) throw new HarrierError('NOT_FOUND', `there is no archive in ${store.name}`, { remedy: 'harrier archive <folder> makes one' })
    return new ArchiveLog(store, index)
  }

  private constructor(store: ArchiveStore, index: ArchiveIndex) {
    this.#store = store
    this.index = index
  }

  /** The model versions that are kept. */
  get models(): string | ModelLibrary {
    return this.#store.models
  }

  close(): void {
    this.#store.close()
  }

  /** The topology with this digest, where it is kept. */
  async topology(digest: string): Promise<Topology | undefined> {
    const object = this.index.topologies[digest]
    return object === undefined ? undefined : loadTopology(join(await this.#store.localFolder(dirname(object)), basename(object)))
  }

  /** The one that was kept last. */
  newestTopology(): Promise<Topology | undefined> {
    return this.topology(Object.keys(this.index.topologies).at(-1) ?? '')
  }

  partitions(topic: string): Promise<number | undefined> {
    return Promise.resolve(this.index.topics[topic])
  }

  bounds(topic: string, partition: number): Promise<LogBounds | undefined> {
    const segments = segmentsOf(this.index, topic, partition)
    return Promise.resolve(segments.length === 0 ? undefined : { from: segments[0]!.from, to: segments.at(-1)!.to })
  }

  async offsetAtTime(topic: string, partition: number, timeMs: number): Promise<number> {
    const segments = segmentsOf(this.index, topic, partition)
    const segment = segments.find(({ lastMs }) => lastMs !== null && lastMs >= timeMs)
    if (!segment) return segments.at(-1)?.to ?? 0
    let found = segment.to
    await this.#readSegment(segment, segment.from, segment.to, (columns) => {
      for (let row = 0; row < columns.count; row++) if (columns.timestamp[row]! >= timeMs) found = Math.min(found, columns.offset[row]!)
    })
    return found
  }

  async read({ topic, partition, from, to }: LogRange, onBatch: (columns: RecordColumns) => void | Promise<void>, signal?: AbortSignal): Promise<void> {
    let position = from
    for (const segment of segmentsOf(this.index, topic, partition)) {
      if (segment.to <= position || segment.from >= to) continue
      if (segment.from > position) throw new Unavailable(`${this.#store.name} has no offsets ${position} to ${segment.from} of ${topic}/${partition}: they were gone when they were to be archived`)
      await this.#readSegment(segment, position, to, onBatch, signal)
      position = segment.to
    }
    if (position < to) throw new Unavailable(`${this.#store.name} ends at offset ${position} of ${topic}/${partition}`)
  }

  async #readSegment(segment: Segment, from: number, to: number, onBatch: (columns: RecordColumns) => void | Promise<void>, signal?: AbortSignal): Promise<void> {
    if (segment.records === 0) return
    const file = await this.#store.localFile(segment.object, segment.sha256)
    const duck = await DuckDBInstance.create(':memory:', { memory_limit: '512MB', threads: '1' })
    const connection = await duck.connect()
    try {
      const result = await connection.stream(`SELECT "offset", "timestamp", key, value, headers FROM read_parquet(${quotedText(file)}) WHERE "offset" >= ${from} AND "offset" < ${to} ORDER BY "offset"`)
      for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
        signal?.throwIfAborted()
        await onBatch(columnsOf(chunk, segment.partition))
      }
    } finally {
      connection.closeSync()
      duck.closeSync()
    }
  }

  async schemaById(id: number): Promise<object> {
    const known = this.#schemas.get(id)
    if (known) return known
    const text = await this.#store.readText(schemaObject(id))
    if (text === undefined) throw new UnknownSchemaIdError(id)
    const schema = JSON.parse(text) as object
    this.#schemas.set(id, schema)
    return schema
  }

  isUnknownId(): boolean {
    return false
  }
}

function columnsOf(chunk: DuckDBDataChunk, partition: number): RecordColumns {
  const columns = new RecordColumns(chunk.rowCount)
  const blob = (column: number): DuckDBBlobVector => chunk.getColumnVector(column) as DuckDBBlobVector
  const [keys, values, headers] = [blob(2), blob(3), blob(4)]
  const offsets = chunk.getColumnVector(0)
  const timestamps = chunk.getColumnVector(1)
  for (let row = 0; row < chunk.rowCount; row++) {
    const at = columns.append(0, partition, Number(offsets.getItem(row)), Number(timestamps.getItem(row)), keys.getItemBytes(row), values.getItemBytes(row))
    const packed = headers.getItemBytes(row)
    if (!packed || packed.length === 0) continue
    columns.headersAt[at] = columns.arena.append(packed)
    columns.headersBytes[at] = packed.length
  }
  return columns
}
