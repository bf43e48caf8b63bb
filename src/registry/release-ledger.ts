import { RecordColumns } from '../base/record-columns.js'
import { HarrierError } from '../base/errors.js'
import type { SchemaLookup } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { TransactionalProducer } from '../producer/transactional-producer.js'
import { releaseCodec, stageModelsCodec } from './release-codec.js'
import { stageKey, type Release, type StageModels } from './release.js'
import type { ReleaseTopics } from './release-topics.js'

export interface ReleaseLogOptions {
  readonly reader: Pick<RangeReader, 'readRange'>
  readonly topics: ReleaseTopics
  readonly registry: Pick<SchemaLookup, 'schemaById'>
}

/** The entries of a stage, oldest first. `settled`: what is being written there is waited for. */
export async function readReleases({ reader, topics, registry }: ReleaseLogOptions, key: string, { settled = false } = {}): Promise<Release[]> {
  const values: Uint8Array[] = []
  await reader.readRange({ topic: topics.releases, partition: 0, from: 'earliest', to: settled ? 'settled-end' : 'stable-end' }, (columns) => void values.push(...valuesOf(columns, key)))
  return await decodedReleases(values, registry)
}

/** Entries as they stand on the topic. Errors: RECORD_UNDECODABLE, those of the registry. */
export async function decodedReleases(values: readonly Uint8Array[], registry: Pick<SchemaLookup, 'schemaById'>): Promise<Release[]> {
  const entries: Release[] = []
  for (const value of values) entries.push(releaseCodec.decode(value, await schemaOf(value, registry)))
  return entries
}

/** Follows the newest release of a stage: the first `poll` reads the topic from its beginning, the later ones what has come since. */
export class ReleaseFollower {
  readonly #options: ReleaseLogOptions
  readonly #key: string
  #position: number | 'earliest' = 'earliest'
  #newest: StageModels | undefined

  constructor(options: ReleaseLogOptions, stage: { readonly topology: string; readonly stage: string }) {
    this.#options = options
    this.#key = stageKey(stage)
  }

  /** What is in force by the newest release; undefined where nothing has ever been released. Errors: BROKER_UNAVAILABLE, RECORD_UNDECODABLE. */
  async poll(signal?: AbortSignal): Promise<StageModels | undefined> {
    const { reader, topics, registry } = this.#options
    const values: Uint8Array[] = []
    const { position } = await reader.readRange({ topic: topics.models, partition: 0, from: this.#position, to: 'stable-end' }, (columns) => void values.push(...valuesOf(columns, this.#key)), signal ? { signal } : {})
    const last = values.at(-1)
    if (last) this.#newest = stageModelsCodec.decode(last, await schemaOf(last, registry))
    this.#position = position
    return this.#newest
  }
}

export interface ReleaseWriterOptions extends ReleaseLogOptions {
  readonly producer: TransactionalProducer
  readonly schemaIds: { readonly release: number; readonly stageModels: number }
}

/**
 * Writes one entry, and the models that are in force by it, in one transaction. The producer's transactional id belongs to the
 * stage: initialising it ends what another writer has open there, so `next` sees every entry before its own, and of two
 * writers at once the earlier one fails. Errors: RELEASE_REFUSED (somebody else was quicker), those of `next`.
 */
export async function appendRelease(options: ReleaseWriterOptions, key: string, next: (entries: readonly Release[]) => Release): Promise<Release> {
  const { producer, topics, schemaIds } = options
  await producer.init()
  try {
    const release = next(await readReleases(options, key, { settled: true }))
    const { topology, stage, revision, to: models, actor, reason, time } = release
    const columns = new RecordColumns(2)
    const keyBytes = Buffer.from(key)
    columns.append(0, 0, 0, time, keyBytes, releaseCodec.encode(schemaIds.release, release))
    if (models !== release.from) columns.append(1, 0, 0, time, keyBytes, stageModelsCodec.encode(schemaIds.stageModels, { topology, stage, revision, models, actor, reason, time }))
    await producer.begin()
    await producer.send(columns, [topics.releases, topics.models])
    await producer.commit()
    return release
  } catch (error) {
    if (!(error instanceof HarrierError) || error.code !== 'FENCED') throw error
    throw new HarrierError('RELEASE_REFUSED', `somebody else wrote to the ledger of ${key} at the same moment`, { cause: error, remedy: '`harrier models show` says what is in force now; do it again if it is still wanted' })
  } finally {
    await producer.close()
  }
}

/** Copies of the values of a stage. */
export function valuesOf(columns: RecordColumns, key: string): Uint8Array[] {
  const values: Uint8Array[] = []
  for (let row = 0; row < columns.count; row++) {
    const value = columns.value(row)
    if (value && Buffer.from(columns.key(row) ?? []).toString() === key) values.push(Uint8Array.from(value))
  }
  return values
}

async function schemaOf(value: Uint8Array, registry: Pick<SchemaLookup, 'schemaById'>): Promise<object> {
  const id = schemaIdOf(value)
  if (id === undefined) throw new HarrierError('RECORD_UNDECODABLE', 'a record of the release topics has no schema id')
  return await registry.schemaById(id)
}
