import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { manifestReference, parseManifest, type Manifest } from './manifest.js'

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

/** Model versions in folders `<root>/<name>/<version>/{model.yaml,model.onnx}`. */
export class ModelStore {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** References of every version that has a manifest, sorted by name, then version. */
  list(): string[] {
    return folders(this.root)
      .flatMap((name) => folders(join(this.root, name)).map((version) => ({ name, version })))
      .filter(({ name, version }) => existsSync(join(this.root, name, version, manifestFile)))
      .sort((a, b) => a.name.localeCompare(b.name, 'en') || a.version.localeCompare(b.version, 'en', { numeric: true }))
      .map(manifestReference)
  }

  /** Loads `name@version`. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  load(reference: string): LoadedModel {
    const [name, version, ...rest] = reference.split('@')
    if (!name || !version || rest.length > 0) {
      throw new HarrierError('MODEL_NOT_FOUND', `"${reference}" is not a model reference`, {
        remedy: 'write <name>@<version>, for example card-gru@1',
      })
    }
    const folder = join(this.root, name, version)
    if (!existsSync(join(folder, manifestFile))) {
      const there = this.list()
      const remedy = there.length > 0 ? `these are there: ${there.join(', ')}` : `there are no models in ${this.root}`
      throw new HarrierError('MODEL_NOT_FOUND', `no ${join(folder, manifestFile)} for ${reference}`, { remedy })
    }
    const model = loadModelFolder(folder)
    if (model.reference !== reference) {
      throw new HarrierError('MANIFEST_INVALID', `${join(folder, manifestFile)} says ${model.reference}, its folder says ${reference}`, {
        remedy: 'correct name and version in the manifest, or rename the folder',
      })
    }
    return model
  }
}

/** Loads the model of one folder, wherever it lies. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
export function loadModelFolder(folder: string): LoadedModel {
  const manifestPath = join(folder, manifestFile)
  if (!existsSync(manifestPath)) throw new HarrierError('MODEL_NOT_FOUND', `there is no ${manifestPath}`)
  const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath)
  const model = { reference: manifestReference(manifest), manifest, folder, file: join(folder, manifest.file) }
  readModelFile(model)
  return model
}

/** The bytes of the ONNX file, checked against the manifest. Errors: MODEL_INVALID. */
export function readModelFile(model: Pick<LoadedModel, 'reference' | 'manifest' | 'file'>): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(readFileSync(model.file))
  } catch (error) {
    throw new HarrierError('MODEL_INVALID', `${model.reference}: ${model.file} cannot be read`, {
      cause: error,
      remedy: 'put the file there, or correct `file` in the manifest',
    })
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 === model.manifest.sha256) return bytes
  throw new HarrierError('MODEL_INVALID', `${model.reference}: ${model.file} has sha256 ${sha256}, its manifest says ${model.manifest.sha256}`, {
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
