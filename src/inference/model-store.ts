import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { manifestReference, parseManifest, type Manifest } from './manifest.js'
import { readOnnxFile } from './onnx-file.js'
import { readRegistration } from './registration.js'
import type { ModelSource } from './session.js'

/** A model whose manifest is checked and whose file has the manifest's sha256. */
export interface LoadedModel {
  /** `name@version` */
  readonly reference: string
  readonly manifest: Manifest
  /** The folder `<root>/<name>/<version>`. */
  readonly folder: string
  readonly file: string
}

export const manifestFile = 'model.yaml'

/** Where model versions come from: a folder, or what brings them into one. What is found lies on this machine. */
export interface ModelLibrary {
  /** What a person calls it. */
  readonly name: string
  /** References of every version, sorted by name, then version. */
  list(): string[] | Promise<string[]>
  /** The manifest; its files need not be here yet. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID where another one was registered. */
  look(reference: string): LoadedModel | Promise<LoadedModel>
  /** With its files; whoever opens the model checks them. Errors: as `look`. */
  find(reference: string): LoadedModel | Promise<LoadedModel>
  /** With its files, checked. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  load(reference: string): LoadedModel | Promise<LoadedModel>
}

/** Model versions in folders `<root>/<name>/<version>/{model.yaml,model.onnx}`. */
export class ModelStore implements ModelLibrary {
  readonly root: string

  constructor(root: string) {
    if (root.startsWith('s3:')) throw new HarrierError('USAGE', `${root} is an object store, and this command takes a folder of model versions`, { remedy: '`harrier models pull --models s3://… --out <folder>` copies versions into one' })
    this.root = root
  }

  get name(): string {
    return this.root
  }

  /** References of every version that has a manifest, sorted by name, then version. */
  list(): string[] {
    return folders(this.root)
      .flatMap((name) => folders(join(this.root, name)).map((version) => ({ name, version })))
      .filter(({ name, version }) => existsSync(join(this.root, name, version, manifestFile)))
      .sort(byNameAndVersion)
      .map(manifestReference)
  }

  look(reference: string): LoadedModel {
    return this.find(reference)
  }

  /** Loads `name@version`. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  load(reference: string): LoadedModel {
    const model = this.find(reference)
    checkModelFiles(model)
    return model
  }

  /** As `load`, by its manifest alone; whoever opens the model checks its other files. Errors: as `look`. */
  find(reference: string): LoadedModel {
    const { name, version } = splitReference(reference)
    const folder = join(this.root, name, version)
    if (!existsSync(join(folder, manifestFile))) {
      const there = this.list()
      const remedy = there.length > 0 ? `these are there: ${there.join(', ')}` : `there are no models in ${this.root}`
      throw new HarrierError('MODEL_NOT_FOUND', `no ${join(folder, manifestFile)} for ${reference}`, { remedy })
    }
    const model = readModelFolder(folder)
    if (model.reference !== reference) {
      throw new HarrierError('MANIFEST_INVALID', `${join(folder, manifestFile)} says ${model.reference}, its folder says ${reference}`, {
        remedy: 'correct name and version in the manifest, or rename the folder',
      })
    }
    checkRegisteredManifest(model)
    return model
  }
}

/** The manifest says how the graph is read, so it is as much of a version as the graph is. Errors: MODEL_INVALID. */
function checkRegisteredManifest({ reference, folder }: LoadedModel): void {
  const registered = readRegistration(folder)?.files[manifestFile]
  const path = join(folder, manifestFile)
  const actual = registered === undefined ? undefined : sha256OfFile(path)
  if (registered !== actual) throw wrongDigest({ reference }, path, actual!, registered!, 'its registration')
}

export interface VersionName {
  readonly name: string
  readonly version: string
}

/** Errors: MODEL_NOT_FOUND. */
export function splitReference(reference: string): VersionName {
  const [name, version, ...rest] = reference.split('@')
  if (name && version && rest.length === 0) return { name, version }
  throw new HarrierError('MODEL_NOT_FOUND', `"${reference}" is not a model reference`, { remedy: 'write <name>@<version>, for example card-gru@1' })
}

/** The order in which versions are listed. */
export function byNameAndVersion(a: VersionName, b: VersionName): number {
  return a.name.localeCompare(b.name, 'en') || a.version.localeCompare(b.version, 'en', { numeric: true })
}

/** Loads the model of one folder, wherever it lies. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
export function loadModelFolder(folder: string): LoadedModel {
  const model = readModelFolder(folder)
  checkModelFiles(model)
  return model
}

/** The manifest of a folder alone; whoever opens the model checks its files. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID. */
export function readModelFolder(folder: string): LoadedModel {
  const manifestPath = join(folder, manifestFile)
  if (!existsSync(manifestPath)) throw new HarrierError('MODEL_NOT_FOUND', `there is no ${manifestPath}`)
  const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath)
  return { reference: manifestReference(manifest), manifest, folder, file: join(folder, manifest.file) }
}

/** Compares every file of a model with its sha256, a piece at a time: no file is held in memory. Errors: MODEL_INVALID. */
export function checkModelFiles(model: Pick<LoadedModel, 'reference' | 'manifest' | 'file' | 'folder'>): void {
  const { manifest, folder, file } = model
  const files = [{ path: file, sha256: manifest.sha256 }, ...manifest.externalData.map((each) => ({ path: join(folder, each.file), sha256: each.sha256 }))]
  for (const { path, sha256 } of files) {
    const actual = reading(model, path, () => sha256OfFile(path))
    if (actual !== sha256) throw wrongDigest(model, path, actual, sha256)
  }
}

/** The bytes of the ONNX file, checked against the manifest. Errors: MODEL_INVALID. */
export function readModelFile(model: Pick<LoadedModel, 'reference' | 'manifest' | 'file'>): Uint8Array<ArrayBuffer> {
  const bytes = reading(model, model.file, () => new Uint8Array(readFileSync(model.file)))
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== model.manifest.sha256) throw wrongDigest(model, model.file, sha256, model.manifest.sha256)
  return bytes
}

/** Models up to this size are opened from the very bytes that were checked; larger ones from their file, which the runtime reads itself. */
export const modelBytesInMemoryMax = 16 << 20

/**
 * What a session is made from: checked bytes, or the path of checked files. Mapped files of weights are in memory once, however
 * many workers there are. Errors: MODEL_INVALID, also when the model names files that the manifest does not.
 */
export function modelSource(model: LoadedModel): ModelSource {
  const { manifest, file, reference } = model
  const isSmall = manifest.externalData.length === 0 && reading(model, file, () => statSync(file).size) <= modelBytesInMemoryMax
  const bytes = isSmall ? readModelFile(model) : undefined
  if (!bytes) checkModelFiles(model)
  const listed = manifest.externalData.map((each) => each.file)
  const unlisted = readOnnxFile(file).externalFiles.filter((each) => !listed.includes(each))
  if (unlisted.length === 0) return bytes ?? { path: file, mapped: (manifest.weights ?? (listed.length > 0 ? 'mapped' : 'packed')) === 'mapped' }
  throw new HarrierError('MODEL_INVALID', `${reference}: ${join(model.folder, manifestFile)}: externalData lacks ${unlisted.join(', ')}, which ${manifest.file} takes weights from`, {
    remedy: `put them beside ${manifest.file} and write externalData: [{file: ${unlisted[0]}, sha256: <of the file>}]`,
  })
}

/** Bytes of all files of a model. */
export function modelFileBytes({ file, folder, manifest }: Pick<LoadedModel, 'file' | 'folder' | 'manifest'>): number {
  return [file, ...manifest.externalData.map((each) => join(folder, each.file))].reduce((sum, path) => sum + statSync(path).size, 0)
}

/** Errors: what the file system throws. */
export function sha256OfFile(path: string): string {
  const hash = createHash('sha256')
  const piece = Buffer.allocUnsafe(1 << 20)
  const descriptor = openSync(path, 'r')
  try {
    for (let bytes = 0; (bytes = readSync(descriptor, piece)) > 0; ) hash.update(piece.subarray(0, bytes))
  } finally {
    closeSync(descriptor)
  }
  return hash.digest('hex')
}

function reading<T>({ reference }: Pick<LoadedModel, 'reference'>, path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new HarrierError('MODEL_INVALID', `${reference}: ${path} cannot be read`, { cause: error, remedy: 'put the file there, or correct its name in the manifest' })
  }
}

function wrongDigest({ reference }: Pick<LoadedModel, 'reference'>, path: string, actual: string, expected: string, by = 'its manifest'): HarrierError {
  return new HarrierError('MODEL_INVALID', `${reference}: ${path} has sha256 ${actual}, ${by} says ${expected}`, {
    remedy: 'restore the file, or register it as a new version',
  })
}

/**
 * Where each of a model's features stands in the stage's rows.
 * Errors: MODEL_INVALID when the stage lacks one.
 */
export function featureIndexes(model: LoadedModel, stageFeatures: readonly string[]): Int32Array {
  const missing = model.manifest.features.filter((name) => !stageFeatures.includes(name))
  if (missing.length > 0) {
    throw new HarrierError('MODEL_INVALID', `${model.reference} reads features that the stage does not have: ${missing.join(', ')}`, {
      remedy: 'declare them in the stage of the topology, or choose another model',
    })
  }
  return Int32Array.from(model.manifest.features, (name) => stageFeatures.indexOf(name))
}

function folders(path: string): string[] {
  if (!existsSync(path)) return []
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}
