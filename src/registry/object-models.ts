import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { sizeText } from '../base/size-text.js'
import { manifestReference, type Manifest } from '../inference/manifest.js'
import { parseManifest } from '../inference/manifest-schema.js'
import { manifestFile, sha256OfFile, type LoadedModel } from '../inference/loaded-model.js'
import { byNameAndVersion, loadModelFolder, ModelStore, splitReference, type ModelLibrary, type VersionName } from '../inference/model-store.js'
import type { ObjectStore } from '../object-store/object-store.js'
import { parseRegistration, registrationFile, type Registration } from '../inference/registration.js'
import { checkSameVersion, filesOf, registerModel, type Registered, type RegisterOptions } from './register-model.js'

/** Manifests that are remembered, of versions that are not here. */
const manifestsMax = 10_000

/** Bytes of all versions in a cache folder. Nothing is removed by itself: another process may have it open. */
export const modelCacheBytesMax = 32 * 2 ** 30

export interface ObjectModelsOptions {
  readonly store: ObjectStore
  /** Where copies are kept, `<folder>/<name>/<version>`; several processes may share it. */
  readonly folder: string
  readonly bytesMax?: number
  readonly logger: Logger
}

/** A version as its manifest and its listing have it, of which nothing need be here. */
export interface ListedVersion {
  readonly model: Pick<LoadedModel, 'reference' | 'manifest'>
  readonly bytes: number
  readonly registration: Registration | undefined
}

const partFormat = /^[A-Za-z0-9][A-Za-z0-9.+_-]*$/

/**
 * Model versions of an object store, `<name>/<version>/<file>`, each copied into a folder of this machine before it is used.
 *
 * 1. A version is there when its manifest is: that is written last, and only where none is. No object is ever replaced.
 * 2. A copy is complete, or not there: it is made beside its place, each file compared with the sha256 of the registration and of the
 *    manifest, and renamed into it.
 * 3. A version never changes, so a copy is as good as the store: what is here is used without a request.
 */
export class ObjectModels implements ModelLibrary {
  readonly #store: ObjectStore
  readonly #copies: ModelStore
  readonly #bytesMax: number
  readonly #logger: Logger
  readonly #manifests = new Map<string, Manifest>()
  readonly #fetching = new Map<string, Promise<void>>()

  constructor({ store, folder, bytesMax = modelCacheBytesMax, logger }: ObjectModelsOptions) {
    this.#store = store
    this.#copies = new ModelStore(folder)
    this.#bytesMax = bytesMax
    this.#logger = logger
  }

  get name(): string {
    return this.#store.name
  }

  /** Where the copies are. */
  get folder(): string {
    return this.#copies.root
  }

  async list(): Promise<string[]> {
    const versions = (await this.#store.list('')).flatMap(({ key }): VersionName[] => {
      const [name, version, file, ...rest] = key.split('/')
      return file === manifestFile && rest.length === 0 && partFormat.test(name!) && partFormat.test(version!) ? [{ name: name!, version: version! }] : []
    })
    return versions.sort(byNameAndVersion).map(manifestReference)
  }

  async look(reference: string): Promise<LoadedModel> {
    const { name, version } = namesOf(reference)
    const folder = join(this.folder, name, version)
    if (existsSync(join(folder, manifestFile))) return this.#copies.find(reference)
    const manifest = this.#manifests.get(reference) ?? (await this.#readManifest(reference, `${name}/${version}/${manifestFile}`))
    return { reference, manifest, folder, file: join(folder, manifest.file) }
  }

  async #readManifest(reference: string, object: string): Promise<Manifest> {
    const read = await this.#store.readText(object)
    if (!read) throw await this.#notThere(reference)
    const manifest = parseManifest(read.text, `${this.name}/${object}`)
    checkName(reference, manifestReference(manifest), `${this.name}/${object}`)
    if (this.#manifests.size < manifestsMax) this.#manifests.set(reference, manifest)
    return manifest
  }

  async find(reference: string): Promise<LoadedModel> {
    await this.#fetch(reference)
    return this.#copies.find(reference)
  }

  async load(reference: string): Promise<LoadedModel> {
    await this.#fetch(reference)
    return this.#copies.load(reference)
  }

  /** What a version is, without its files. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  async describe(reference: string): Promise<ListedVersion> {
    const { name, version } = namesOf(reference)
    const [model, registration, objects] = await Promise.all([this.look(reference), this.#registration(reference), this.#store.list(`${name}/${version}/`)])
    const files = [model.manifest.file, ...model.manifest.externalData.map(({ file }) => file)].map((file) => `${name}/${version}/${file}`)
    return { model, registration, bytes: objects.filter(({ key }) => files.includes(key)).reduce((sum, { bytes }) => sum + bytes, 0) }
  }

  /**
   * Checks a version as `registerModel` does, trial run included, and puts it into the store, the manifest last. What a registration
   * that was cut off has left is completed by the same files. Errors: those of `registerModel` and of the store.
   */
  async register(options: Omit<RegisterOptions, 'root'>): Promise<Registered> {
    const model = loadModelFolder(options.folder)
    const { reference, manifest } = model
    const target = `${this.name}/${manifest.name}/${manifest.version}`
    const known = await this.#registration(reference)
    const isThere = (await this.#store.readText(`${manifest.name}/${manifest.version}/${manifestFile}`)) !== undefined
    const at = (registered: Registered): Registered => ({ ...registered, model: { ...registered.model, folder: target } })
    if (known) {
      const files = Object.fromEntries(filesOf(model).map((file) => [file, sha256OfFile(join(model.folder, file))]))
      checkSameVersion(reference, this.name, known.files, files)
      if (!isThere) await this.#put(model, model.folder, Object.keys(files))
      return at({ model, registration: known, bytes: sizeOf(model.folder, Object.keys(files)), isNew: !isThere })
    }
    if (isThere) {
      // It was put there by hand: its files stay as they are, and get a registration.
      await this.#fetch(reference)
      const registered = await registerModel({ ...options, root: this.folder, rootName: this.name })
      await this.#put(model, join(this.folder, manifest.name, manifest.version), [registrationFile])
      return at(registered)
    }
    const beside = mkdtempSync(join(tmpdir(), 'harrier-register-'))
    try {
      const registered = await registerModel({ ...options, root: beside })
      await this.#put(model, registered.model.folder, [registrationFile, ...Object.keys(registered.registration.files)])
      return at(registered)
    } finally {
      rmSync(beside, { recursive: true, force: true })
    }
  }

  /** The manifest last. Errors: RELEASE_REFUSED where another object is there. */
  async #put({ reference, manifest }: LoadedModel, folder: string, files: readonly string[]): Promise<void> {
    const inOrder = [...files.filter((file) => file !== manifestFile), ...files.filter((file) => file === manifestFile)]
    for (const file of inOrder) {
      const object = `${manifest.name}/${manifest.version}/${file}`
      const sha256 = sha256OfFile(join(folder, file))
      if ((await this.#store.list(object)).every(({ key }) => key !== object) && (await this.#store.writeFile(object, join(folder, file), sha256, { absent: true }))) continue
      const there = await this.#sha256Of(object)
      if (there === sha256) continue
      throw new HarrierError('RELEASE_REFUSED', `${this.name}/${object} is there already, and differs: no object of ${reference} is ever replaced`, { remedy: 'give it another version in model.yaml; or remove what a registration that was cut off has left there' })
    }
  }

  async #sha256Of(object: string): Promise<string | undefined> {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-compare-'))
    try {
      return (await this.#store.readFile(object, join(folder, 'object')))?.sha256
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  async #registration(reference: string): Promise<Registration | undefined> {
    const { name, version } = namesOf(reference)
    const object = `${name}/${version}/${registrationFile}`
    const read = await this.#store.readText(object)
    return read && parseRegistration(read.text, `${this.name}/${object}`)
  }

  /** One copy of a version at a time. */
  #fetch(reference: string): Promise<void> {
    const under = this.#fetching.get(reference)
    if (under) return under
    const fetching = this.#fetchOnce(reference).finally(() => this.#fetching.delete(reference))
    this.#fetching.set(reference, fetching)
    return fetching
  }

  async #fetchOnce(reference: string): Promise<void> {
    const { name, version } = namesOf(reference)
    const target = join(this.folder, name, version)
    if (existsSync(join(target, manifestFile))) return
    const begin = `${name}/${version}/`
    const objects = (await this.#store.list(begin)).map(({ key, bytes }) => ({ file: key.slice(begin.length), bytes })).filter(({ file }) => file !== '' && !file.includes('/'))
    if (!objects.some(({ file }) => file === manifestFile)) throw await this.#notThere(reference)
    this.#checkRoom(reference, objects.reduce((sum, { bytes }) => sum + bytes, 0))
    mkdirSync(join(this.folder, name), { recursive: true, mode: 0o700 })
    const beside = mkdtempSync(join(this.folder, name, '.fetching-'))
    try {
      const sums = new Map<string, string>()
      for (const { file } of objects) sums.set(file, (await this.#store.readFile(`${begin}${file}`, join(beside, file)))?.sha256 ?? '')
      this.#checkRegistered(reference, beside, sums)
      checkName(reference, loadModelFolder(beside).reference, `${this.name}/${begin}${manifestFile}`)
      try {
        renameSync(beside, target)
      } catch (error) {
        // Another process was quicker.
        if (!existsSync(join(target, manifestFile))) throw error
      }
    } finally {
      rmSync(beside, { recursive: true, force: true })
    }
    this.#logger.log('info', 'a model version was fetched', { model: reference, from: this.name, into: target })
  }

  /** Each file of the registration is there, and is what was registered. Errors: MODEL_INVALID. */
  #checkRegistered(reference: string, folder: string, sums: ReadonlyMap<string, string>): void {
    if (!sums.has(registrationFile)) return
    const place = `${this.name}/${reference.replace('@', '/')}`
    const { files } = parseRegistration(readFileSync(join(folder, registrationFile), 'utf8'), `${place}/${registrationFile}`)
    for (const [file, sha256] of Object.entries(files)) {
      const actual = sums.get(file)
      if (actual === sha256) continue
      throw new HarrierError('MODEL_INVALID', `${reference}: ${place}/${file} ${actual === undefined ? 'is not there' : `has sha256 ${actual}`}, and sha256 ${sha256} was registered`, {
        remedy: 'put the object back that was registered, or register what is there as a new version',
      })
    }
  }

  #checkRoom(reference: string, bytes: number): void {
    const files = existsSync(this.folder) ? readdirSync(this.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()) : []
    // What another process copies may be renamed meanwhile.
    const used = files.reduce((sum, entry) => sum + (statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.size ?? 0), 0)
    if (used + bytes <= this.#bytesMax) return
    throw new HarrierError('LIMIT_EXCEEDED', `${reference} has ${sizeText(bytes)}, and of the ${sizeText(this.#bytesMax)} for copies of model versions in ${this.folder} ${sizeText(used)} are used`, {
      remedy: 'remove versions there that no process has in force; or let HARRIER_MODEL_CACHE name another folder, and remove this one when no process uses it',
    })
  }

  async #notThere(reference: string): Promise<HarrierError> {
    const there = await this.list()
    return new HarrierError('MODEL_NOT_FOUND', `there is no ${reference} in ${this.name}`, { remedy: there.length > 0 ? `these are there: ${there.join(', ')}` : '`harrier models register <folder> --models s3://…` puts versions there' })
  }
}

/** Errors: MODEL_NOT_FOUND. */
function namesOf(reference: string): VersionName {
  const names = splitReference(reference)
  if (partFormat.test(names.name) && partFormat.test(names.version)) return names
  throw new HarrierError('MODEL_NOT_FOUND', `"${reference}" is not a model reference`, { remedy: 'write <name>@<version>, for example card-gru@1' })
}

function checkName(reference: string, said: string, where: string): void {
  if (said !== reference) throw new HarrierError('MANIFEST_INVALID', `${where} says ${said}, its place says ${reference}`, { remedy: 'register it from a folder, which gives it its place' })
}

function sizeOf(folder: string, files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}
