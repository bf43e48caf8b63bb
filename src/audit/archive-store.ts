import { createReadStream } from 'node:fs'
import { access, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'

/** Where an archive lies: a folder here, an object store elsewhere. Names have slashes; an object is written once, but for the index. */
export interface ArchiveStore {
  /** What a person calls it. */
  readonly name: string
  /** Undefined where there is no such object. */
  readText(object: string): Promise<string | undefined>
  /** Takes the place of what was there, whole or not at all. */
  writeText(object: string, text: string): Promise<void>
  /** A copy of a file becomes an object. */
  putFile(object: string, file: string): Promise<void>
  /** The object as a file of this machine. */
  localFile(object: string): Promise<string>
}

export class FolderStore implements ArchiveStore {
  readonly name: string

  constructor(folder: string) {
    this.name = folder
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

  localFile(object: string): Promise<string> {
    return Promise.resolve(join(this.name, object))
  }
}

export async function sha256OfStream(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer)
  return hash.digest('hex')
}
