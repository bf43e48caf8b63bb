import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { createScorer } from '../inference/create-scorer.js'
import type { DevicePolicy } from '../inference/device.js'
import { goldenFile, ownCategories, testGolden } from '../inference/golden.js'
import { modelDigest } from '../inference/manifest.js'
import { manifestFile, modelFileBytes, sha256OfFile, type LoadedModel } from '../inference/loaded-model.js'
import { loadModelFolder } from '../inference/model-store.js'
import { readRegistration, registrationFile, type Registration } from '../inference/registration.js'

export interface RegisterOptions {
  /** The folder of model.yaml. */
  readonly folder: string
  /** Where versions live: <root>/<name>/<version>. */
  readonly root: string
  /** What a person calls that; default: `root`. */
  readonly rootName?: string
  readonly actor: string
  readonly device: DevicePolicy
  readonly harrier: string
  readonly clock: Clock
  readonly importedFrom?: Registration['importedFrom']
}

export interface Registered {
  readonly model: LoadedModel
  readonly registration: Registration
  readonly bytes: number
  /** False: this very version had been registered before. */
  readonly isNew: boolean
}

/**
 * Checks a version (manifest, sha256 of every file, the graph's inputs, outputs and shapes, a trial run over its golden rows, or
 * over rows of zeros), and puts it where versions live. What is there is never changed. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID,
 * MODEL_INVALID, DEVICE_UNAVAILABLE; RELEASE_REFUSED where the version is there with other files.
 */
export async function registerModel({ folder, root, rootName = root, actor, device, harrier, clock, importedFrom }: RegisterOptions): Promise<Registered> {
  const model = loadModelFolder(folder)
  const { manifest, reference } = model
  const target = join(root, manifest.name, manifest.version)
  const files = Object.fromEntries(filesOf(model).map((name) => [name, sha256OfFile(join(folder, name))]))
  const inPlace = existsSync(target) && realpathSync(target) === realpathSync(folder)
  if (existsSync(target)) {
    const known = readRegistration(target)
    const there = known?.files ?? Object.fromEntries(filesOf(loadModelFolder(target)).map((name) => [name, sha256OfFile(join(target, name))]))
    checkSameVersion(reference, rootName, there, files)
    if (known) return { model: loadModelFolder(target), registration: known, bytes: modelFileBytes(model), isNew: false }
  }
  const trial = await tryModel(model, device, clock)
  const registration: Registration = { model: reference, sha256: modelDigest(manifest), files, actor, registeredAt: new Date(clock.nowMs()).toISOString(), trial, harrier, ...(importedFrom ? { importedFrom } : {}) }
  const text = `${JSON.stringify(registration, null, 2)}\n`
  if (inPlace || existsSync(target)) writeFileSync(join(target, registrationFile), text, { flag: 'wx' })
  else putVersion(folder, target, Object.keys(files), text)
  return { model: loadModelFolder(target), registration, bytes: modelFileBytes(model), isNew: true }
}

/** sha256 by name of what is there, and of what is to be registered. Errors: RELEASE_REFUSED. */
export function checkSameVersion(reference: string, rootName: string, there: Readonly<Record<string, string>>, files: Readonly<Record<string, string>>): void {
  const differing = [...new Set([...Object.keys(there), ...Object.keys(files)])].filter((name) => there[name] !== files[name])
  if (differing.length === 0) return
  throw new HarrierError('RELEASE_REFUSED', `${reference} is in ${rootName} already, and ${differing.join(', ')} differ${differing.length === 1 ? 's' : ''}: a version never changes`, { remedy: 'give it another version in model.yaml' })
}

/** What belongs to a version: manifest, graph, weights, and golden rows where there are some. */
export function filesOf({ folder, manifest }: Pick<LoadedModel, 'folder' | 'manifest'>): string[] {
  const golden = existsSync(join(folder, goldenFile)) ? [goldenFile] : []
  return [manifestFile, manifest.file, ...manifest.externalData.map(({ file }) => file), ...golden]
}

/** All or nothing: beside the place first, then renamed into it. */
function putVersion(folder: string, target: string, files: readonly string[], registration: string): void {
  mkdirSync(dirname(target), { recursive: true })
  const beside = mkdtempSync(join(dirname(target), '.registering-'))
  try {
    for (const name of files) copyFileSync(join(folder, name), join(beside, name))
    writeFileSync(join(beside, registrationFile), registration)
    renameSync(beside, target)
  } catch (error) {
    // Where the folder cannot be renamed into place (another file system), it is copied.
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    cpSync(beside, target, { recursive: true, errorOnExist: true, force: false })
  } finally {
    rmSync(beside, { recursive: true, force: true })
  }
}

const trialRows = 3

async function tryModel(model: LoadedModel, device: DevicePolicy, clock: Clock): Promise<Registration['trial']> {
  const { manifest, reference, folder } = model
  if (existsSync(join(folder, goldenFile))) {
    const report = await testGolden(folder, { device, clock })
    if (!report.passed) {
      throw new HarrierError('MODEL_INVALID', `${reference}: its golden rows do not give their scores: ${report.misses.length} of ${report.compared} differ, by up to ${report.largestDifference}${report.hint === null ? '' : `; ${report.hint}`}`, {
        remedy: `\`harrier models test ${folder}\` shows which`,
      })
    }
    const { device: used } = report.model
    return { device: used, deviceClass: report.deviceClass, rows: report.compared, golden: true, largestDifference: report.largestDifference, microsecondsPerRow: report.microsecondsPerRow }
  }
  const scorer = await createScorer({ features: manifest.features, categories: ownCategories(manifest), window: manifest.window ?? 1, models: [{ model, role: 'champion' }], device, workers: 0, clock, limits: { rowsMax: trialRows }, chunkSlots: 64 })
  try {
    const frame = scorer.acquireFrame()!
    frame.count = trialRows
    frame.rows.fill(0)
    for (let row = 0; row < trialRows; row++) {
      frame.slot[row] = 1
      frame.flags[row] = 0
      frame.eventTime[row] = row
    }
    await scorer.score(frame)
    const problem = frame.failures[0]?.message ?? ([...frame.scores[0]!.subarray(0, trialRows)].every(Number.isFinite) ? undefined : 'a score is not finite')
    if (problem !== undefined) throw new HarrierError('MODEL_INVALID', `${reference}: a trial run over rows of zeros failed: ${problem}`, { remedy: 'export the model again, or put golden rows beside it that say what it should be fed (docs/models.md)' })
    return { device: scorer.models[0]!.device, deviceClass: scorer.deviceClass, rows: trialRows, golden: false, largestDifference: null, microsecondsPerRow: null }
  } finally {
    await scorer.close()
  }
}
