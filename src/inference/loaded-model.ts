import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import type { Manifest } from './manifest.js'
import { readOnnxFile } from './onnx-file.js'
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

export function wrongDigest({ reference }: Pick<LoadedModel, 'reference'>, path: string, actual: string, expected: string, by = 'its manifest'): HarrierError {
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
