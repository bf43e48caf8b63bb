import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import type { ObjectStore, WriteIf } from '../object-store/object-store.js'
import { ObjectModels } from '../registry/object-models.js'
import { sha256OfStream, wrongSegment, type ArchiveStore } from './archive-store.js'
import { Unavailable } from './unavailable.js'

export const objectArchiveLimits = {
  /** Copies of segments that are kept while a command runs; the one that was used longest ago goes first. */
  copiesBytesMax: 8 * 2 ** 30,
  /** So many of the last ones stay all the same: they may be being read. */
  copiesMin: 8,
} as const

type ObjectArchiveLimits = { readonly [name in keyof typeof objectArchiveLimits]: number }

export interface ObjectArchiveOptions {
  readonly store: ObjectStore
  /** What is kept under `models/` of the archive. */
  readonly modelStore: ObjectStore
  readonly limits?: Partial<ObjectArchiveLimits>
}

/**
 * An archive in an object store. What is read of it is copied into a folder that goes with `close`.
 * The index is replaced only if it is what was read, so two that write the same archive do not undo each other: the later one ends.
 */
export class ObjectArchive implements ArchiveStore {
  readonly models: ObjectModels
  readonly #store: ObjectStore
  readonly #limits: ObjectArchiveLimits
  readonly #folder = mkdtempSync(join(tmpdir(), 'harrier-archive-'))
  /** Files and bytes by object, the one used longest ago first. */
  readonly #copies = new Map<string, { readonly file: string; readonly bytes: number }>()
  /** What texts were when they were read or written last. */
  readonly #seen = new Map<string, WriteIf>()

  constructor({ store, modelStore, limits }: ObjectArchiveOptions) {
    this.#store = store
    this.#limits = { ...objectArchiveLimits, ...limits }
    this.models = new ObjectModels({ store: modelStore, folder: join(this.#folder, 'models'), logger: silentLogger })
  }

  get name(): string {
    return this.#store.name
  }

  async readText(object: string): Promise<string | undefined> {
    const read = await this.#store.readText(object)
    this.#remember(object, read ? read.etag : null)
    return read?.text
  }

  /** Errors: STORE_REFUSED where another process has written it since it was read. */
  async writeText(object: string, text: string): Promise<void> {
    const written = await this.#store.writeText(object, text, this.#seen.get(object))
    if (written) return this.#remember(object, written.etag)
    // A write whose answer was lost is refused when it is tried again.
    const there = await this.#store.readText(object)
    if (there?.text !== text) throw new HarrierError('STORE_REFUSED', `${this.name}/${object} was written by another process since it was read`, {
      remedy: 'let one `harrier archive` at a time write into an archive, then run it again: it goes on where the archive ends',
    })
    this.#remember(object, there.etag)
  }

  async putFile(object: string, file: string): Promise<void> {
    await this.#store.writeFile(object, file, await sha256OfStream(file))
  }

  async localFile(object: string, sha256: string): Promise<string> {
    const known = this.#copies.get(object)
    if (known) {
      this.#copies.delete(object)
      this.#copies.set(object, known)
      return known.file
    }
    const file = join(this.#folder, createHash('sha256').update(object).digest('hex'))
    const read = await this.#store.readFile(object, file)
    if (!read) throw new Unavailable(`${object} is not in ${this.name}, whose index names it`)
    if (read.sha256 !== sha256) throw wrongSegment(this.name, object, read.sha256, sha256)
    this.#copies.set(object, { file, bytes: statSync(file).size })
    this.#makeRoom()
    return file
  }

  async localFolder(begin: string): Promise<string> {
    const folder = join(this.#folder, 'folders', createHash('sha256').update(begin).digest('hex'))
    mkdirSync(folder, { recursive: true })
    for (const { key } of await this.#store.list(`${begin}/`)) {
      const file = key.slice(begin.length + 1)
      if (file !== '' && !/[/\\]/.test(file)) await this.#store.readFile(key, join(folder, file))
    }
    return folder
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** `etag`: null where there is no such object, undefined where the store names none. */
  #remember(object: string, etag: string | null | undefined): void {
    if (etag === undefined) this.#seen.delete(object)
    else this.#seen.set(object, etag === null ? { absent: true } : { etag })
  }

  #makeRoom(): void {
    let bytes = [...this.#copies.values()].reduce((sum, each) => sum + each.bytes, 0)
    for (const [object, copy] of this.#copies) {
      if (bytes <= this.#limits.copiesBytesMax || this.#copies.size <= this.#limits.copiesMin) return
      rmSync(copy.file, { force: true })
      this.#copies.delete(object)
      bytes -= copy.bytes
    }
  }
}
