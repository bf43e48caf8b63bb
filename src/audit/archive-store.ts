import { createReadStream } from 'node:fs'
import { access, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import type { ModelLibrary } from '../inference/model-store.js'
import { Unavailable } from './unavailable.js'

/** Where an archive lies: a folder here, an object store elsewhere. Names have slashes; an object is written once, but for the index. */
export interface ArchiveStore {
  /** What a person calls it. */
  readonly name: string
  /** What is kept under `models/`. */
  readonly models: string | ModelLibrary
  /** Undefined where there is no such object. */
  readText(object: string): Promise<string | undefined>
  /** Takes the place of what was there, whole or not at all. */
  writeText(object: string, text: string): Promise<void>
  /** A copy of a file becomes an object. */
  putFile(object: string, file: string): Promise<void>
  /** The object as a file of this machine. Errors: Unavailable where its sha256 is another, or where it is gone from a store that is elsewhere. */
  localFile(object: string, sha256: string): Promise<string>
  /** The objects right below a name, as files of a folder. */
  localFolder(begin: string): Promise<string>
  /** Ends what was made of it on this machine for a while. */
  close(): void
}

export function wrongSegment(name: string, object: string, actual: string, expected: string): Unavailable {
  return new Unavailable(`${object} of ${name} has sha256 ${actual}, the archive's index says ${expected}`)
}

export class FolderStore implements ArchiveStore {
  readonly name: string
  readonly #checked = new Set<string>()

  constructor(folder: string) {
    this.name = folder
  }

  get models(): string {
    return join(this.name, 'models')
  }

  async readText(object: string): Promise<string | undefined> {
    const file = join(this.name, object)
    try {
      await access(file)
    } catch {
      return undefined
    }
    return readFile(file, 'utf8')
  }

  async writeText(object: string, text: string): Promise<void> {
    const file = join(this.name, object)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }

  async putFile(object: string, file: string): Promise<void> {
    const to = join(this.name, object)
    await mkdir(dirname(to), { recursive: true })
    await copyFile(file, `${to}.new`)
    await rename(`${to}.new`, to)
  }

  /** Compared once: what changes it after that is on this machine. */
  async localFile(object: string, sha256: string): Promise<string> {
    const file = join(this.name, object)
    if (this.#checked.has(object)) return file
    const actual = await sha256OfStream(file)
    if (actual !== sha256) throw wrongSegment(this.name, object, actual, sha256)
    this.#checked.add(object)
    return file
  }

  localFolder(begin: string): Promise<string> {
    return Promise.resolve(join(this.name, begin))
  }

  close(): void {
    // Nothing was made.
  }
}

export async function sha256OfStream(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer)
  return hash.digest('hex')
}
