import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { hiddenFloatsOf, modelNameOf } from '../inference/manifest.js'
import { manifestFile, modelFileBytes, type LoadedModel } from '../inference/loaded-model.js'
import { ModelStore } from '../inference/model-store.js'
import { readRegistration, type Registration } from '../inference/registration.js'

export interface VersionSummary {
  /** name@version */
  readonly model: string
  readonly kind: string
  readonly features: number
  /** Rows of a window model's input. */
  readonly window: number | null
  /** Floats of a recurrent model's hidden state, for each entity. */
  readonly hidden: number | null
  readonly bytes: number
  readonly sha256: string
  /** Who registered it, and when; null: it was put there by hand. */
  readonly registered: string | null
  readonly description: string
}

export function versionSummary(model: LoadedModel): VersionSummary {
  return summaryOf(model, modelFileBytes(model), readRegistration(model.folder))
}

/** `bytes`: of all its files. */
export function summaryOf({ reference, manifest }: Pick<LoadedModel, 'reference' | 'manifest'>, bytes: number, registration: Registration | undefined): VersionSummary {
  const { kind, features, window, sha256, description } = manifest
  const hidden = kind === 'recurrent' ? hiddenFloatsOf(manifest) : null
  const shape = { features: features.length, window: window ?? null, hidden }
  return { model: reference, kind, ...shape, bytes, sha256, registered: registeredText(registration), description: description ?? '' }
}

export function registeredBy({ folder }: LoadedModel): string | null {
  return registeredText(readRegistration(folder))
}

function registeredText(registration: Registration | undefined): string | null {
  return registration ? `${registration.registeredAt.slice(0, 10)} ${registration.actor}` : null
}

/**
 * Versions of a folder, for people who may not see all of them: nothing that it says names another one. Manifests are read; whoever
 * opens a version checks its files.
 */
export class ModelShelf {
  readonly #store: ModelStore

  constructor(root: string) {
    this.#store = new ModelStore(root)
  }

  get root(): string {
    return this.#store.root
  }

  /** Those whose name may be seen. */
  list(sees: (name: string) => boolean): VersionSummary[] {
    return this.#store.list().filter((reference) => sees(modelNameOf(reference))).map((reference) => versionSummary(this.#store.find(reference)))
  }

  /** Errors: MODEL_NOT_FOUND, MANIFEST_INVALID. */
  find(name: string, version: string): LoadedModel {
    const isName = [name, version].every((part) => /^[^/\\@]+$/.test(part) && !part.startsWith('.'))
    if (isName && existsSync(join(this.#store.root, name, version, manifestFile))) return this.#store.find(`${name}@${version}`)
    throw new HarrierError('MODEL_NOT_FOUND', `there is no version ${name}@${version}`, { remedy: 'GET /v1/models lists those that are there' })
  }
}
