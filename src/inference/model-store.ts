import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { checkModelFiles, manifestFile, sha256OfFile, wrongDigest, type LoadedModel } from './loaded-model.js'
import { parseManifest } from './manifest-schema.js'
import { manifestReference } from './manifest.js'
import { readRegistration } from './registration.js'

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

function folders(path: string): string[] {
  if (!existsSync(path)) return []
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}
