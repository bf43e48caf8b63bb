import { readFile, readdir, rm } from 'node:fs/promises'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { decodeLineage } from '../codec/lineage-codec.js'
import { UnknownSchemaIdError } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import { ParquetTable } from '../replay/parquet-table.js'
import type { Topology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { emptyIndex, readIndex, segmentsOf, writeIndex, type ArchiveIndex } from './archive-index.js'
import { schemaObject, segmentColumns } from './archive-log.js'
import { sha256OfStream, type ArchiveStore } from './archive-store.js'
import { versionKey, type ModelFiles } from './model-files.js'
import type { RecordLog } from './record-log.js'

export interface ArchiveOptions {
  readonly log: RecordLog
  readonly store: ArchiveStore
  readonly topology: Topology
  readonly namespace: string | undefined
  readonly models: ModelFiles
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
  readonly onWarning: (text: string) => void
}

export interface ArchivedCounts {
  readonly segments: number
  readonly records: number
}

/** Records of one segment. */
const segmentRecordsMax = 250_000

/**
 * Adds to an archive what its topics have got since the last time: inputs, labels, what stages pass on, lineage, scored events, and of
 * each changelog the newest record of each entity, which makes a snapshot of the state; and the ledger of releases. The index is written after each segment,
 * so an archive that was interrupted goes on where it ended.
 */
export async function archiveTopics(options: ArchiveOptions): Promise<ArchivedCounts> {
  const { log, store, topology, namespace } = options
  const index = (await readIndex(store)) ?? emptyIndex(topology.name, namespace)
  const all = topology.chain.map((view) => topologyNames(view, namespace))
  const states = new Set(all.map(({ state }) => state))
  const topics = new Set([...all.flatMap(({ input, labels }) => [input, ...(labels === undefined ? [] : [labels])]), all[0]!.lineage, all.at(-1)!.scored, ...states])
  let counts = { segments: 0, records: 0 }
  await keepTopology(store, index, topology)
  const keep = async (topic: string): Promise<boolean> => {
    const partitions = await log.partitions(topic)
    if (partitions === undefined) return false
    index.topics[topic] = partitions
    for (let partition = 0; partition < partitions; partition++) {
      const added = await archivePartition(topic, partition, states.has(topic), topic === all[0]!.lineage, index, options)
      counts = { segments: counts.segments + added.segments, records: counts.records + added.records }
    }
    return true
  }
  for (const topic of topics) if (!(await keep(topic))) options.onWarning(`there is no topic ${topic}`)
  await keepLedger(all[0]!.releaseTopics.releases, keep, options)
  await writeIndex(store, index)
  return counts
}

/** Who released what. There is none where nothing was ever released, and not everybody who archives may read it. */
async function keepLedger(topic: string, keep: (topic: string) => Promise<boolean>, { onWarning }: ArchiveOptions): Promise<void> {
  try {
    await keep(topic)
  } catch (error) {
    if (!(error instanceof HarrierError) || error.code !== 'NOT_AUTHORIZED') throw error
    onWarning(`who released what is not archived: ${error.message}`)
  }
}

async function archivePartition(topic: string, partition: number, isState: boolean, isLineage: boolean, index: ArchiveIndex, options: ArchiveOptions): Promise<ArchivedCounts> {
  const { log, store, signal, onProgress, onWarning } = options
  const bounds = await log.bounds(topic, partition)
  const reached = segmentsOf(index, topic, partition).at(-1)?.to
  if (!bounds || bounds.to <= (reached ?? -1) || bounds.to === bounds.from) return { segments: 0, records: 0 }
  let from = Math.max(bounds.from, reached ?? bounds.from)
  // A changelog is compacted: what is gone of it has been replaced.
  if (reached !== undefined && bounds.from > reached && !isState) onWarning(`${topic}/${partition}: offsets ${reached} to ${bounds.from} were gone before they could be archived; archive more often, or raise the topic's retention`)
  if (isState && reached !== undefined && reached < from) from = reached
  const counts = { segments: 0, records: 0 }
  while (from < bounds.to) {
    signal.throwIfAborted()
    const to = isState ? bounds.to : Math.min(bounds.to, from + segmentRecordsMax)
    onProgress(`${topic}/${partition}: offsets ${from.toLocaleString('en')} to ${to.toLocaleString('en')}`)
    const segment = await writeSegment({ topic, partition, from, to }, Math.max(from, bounds.from), isState, isLineage, index, options)
    index.segments.push(segment)
    await writeIndex(store, index)
    counts.segments++
    counts.records += segment.records
    from = to
  }
  return counts
}

async function writeSegment(range: { topic: string; partition: number; from: number; to: number }, readFrom: number, isState: boolean, isLineage: boolean, index: ArchiveIndex, options: ArchiveOptions): Promise<ArchiveIndex['segments'][number]> {
  const { log, store, signal } = options
  const { topic, partition, from, to } = range
  const folder = mkdtempSync(join(tmpdir(), 'harrier-archive-'))
  const file = join(folder, 'segment.parquet')
  try {
    const table = await ParquetTable.open(file, segmentColumns, { inMemory: true })
    let records = 0
    let firstMs: number | null = null
    let lastMs: number | null = null
    const ids = new Set<number>()
    const write = (rows: readonly Row[]): void => {
      records += rows.length
      for (const { timestamp } of rows) {
        firstMs = Math.min(firstMs ?? timestamp, timestamp)
        lastMs = Math.max(lastMs ?? timestamp, timestamp)
      }
      table.write([rows.map(({ offset }) => offset), rows.map(({ timestamp }) => timestamp), rows.map(({ key }) => key), rows.map(({ value }) => value), rows.map(({ headers }) => headers)], rows.length)
    }
    const newest = new Map<string, Row>()
    try {
      await log.read({ ...range, from: readFrom }, async (columns) => {
        const rows = rowsOf(columns)
        if (isState) for (const row of rows) newest.set(Buffer.from(row.key ?? []).toString('base64'), row)
        else {
          for (const { value } of rows) if (value) addId(ids, value)
          if (isLineage) await keepModels(rows, index, options)
          write(rows)
        }
      }, signal)
      if (isState) write([...newest.values()].sort((a, b) => a.offset - b.offset))
      await table.close()
    } catch (error) {
      await table.discard().catch(() => undefined)
      throw error
    }
    for (const id of ids) await keepSchema(store, log, id)
    const object = `segments/${topic}/${partition}/${String(from).padStart(16, '0')}.parquet`
    const sha256 = await sha256OfStream(file)
    await store.putFile(object, file)
    return { topic, partition, from, to, records, object, sha256, firstMs, lastMs }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Row {
  readonly offset: number
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: Uint8Array | null
}

function rowsOf(columns: RecordColumns): Row[] {
  const copy = (bytes: Uint8Array | null): Uint8Array | null => bytes && Uint8Array.from(bytes)
  return Array.from({ length: columns.count }, (_, row) => {
    const at = columns.headersAt[row]!
    const bytes = columns.headersBytes[row]!
    return { offset: columns.offset[row]!, timestamp: columns.timestamp[row]!, key: copy(columns.key(row)), value: copy(columns.value(row)), headers: bytes === 0 ? null : columns.arena.bytes.slice(at, at + bytes) }
  })
}

function addId(ids: Set<number>, value: Uint8Array): void {
  const id = schemaIdOf(value)
  if (id !== undefined) ids.add(id)
}

/** Schemas are needed when no registry knows them any more. What is no schema id (plain JSON) is passed over. */
async function keepSchema(store: ArchiveStore, log: RecordLog, id: number): Promise<void> {
  if ((await store.readText(schemaObject(id))) !== undefined) return
  try {
    await store.writeText(schemaObject(id), JSON.stringify(await log.schemaById(id)))
  } catch (error) {
    if (!(error instanceof UnknownSchemaIdError)) throw error
  }
}

/** The files of every model that has scored. */
async function keepModels(rows: readonly Row[], index: ArchiveIndex, { log, store, models, onWarning }: ArchiveOptions): Promise<void> {
  const seen = new Set(index.models.map(versionKey))
  for (const { value } of rows) {
    if (!value) continue
    const id = schemaIdOf(value)
    for (const resolved of decodeLineage(value, id === undefined ? undefined : await log.schemaById(id)).models) {
      const key = versionKey(resolved)
      if (seen.has(key)) continue
      seen.add(key)
      const { model, sha256, manifest } = resolved
      const found = await models.find(resolved)
      if (!found) {
        onWarning(`the files of ${model} (sha256 ${sha256.slice(0, 12)}…) are not in ${models.names.join(', ')}: put them into ${store.name}/models`)
        continue
      }
      const [name, version] = found.reference.split('@') as [string, string]
      for (const file of await readdir(found.folder, { withFileTypes: true })) if (file.isFile()) await store.putFile(`models/${name}/${version}/${file.name}`, join(found.folder, file.name))
      index.models.push({ model, sha256, manifest })
    }
  }
}

/** The topology as it is now, with the schemas that it names, under its digest. */
async function keepTopology(store: ArchiveStore, index: ArchiveIndex, { file, digests, spec, chain }: Topology): Promise<void> {
  if (index.topologies[digests.topology] !== undefined) return
  const folder = `topologies/${digests.topology.slice(0, 16)}`
  const document = parseDocument(await readFile(file, 'utf8'))
  for (const [section, schema] of [['source', spec.source.schema], ['labels', chain[0]!.labels?.spec.schema]] as const) {
    if (schema === undefined) continue
    const name = `${section}-${basename(schema)}`
    document.setIn([section, 'schema'], name)
    await store.writeText(`${folder}/${name}`, await readFile(resolve(dirname(file), schema), 'utf8'))
  }
  const object = `${folder}/${basename(file)}`
  await store.writeText(object, String(document))
  index.topologies[digests.topology] = object
}
