import { HarrierError } from '../base/errors.js'
import { modelDigest } from '../inference/manifest.js'
import { ModelStore, type LoadedModel } from '../inference/model-store.js'

/** Finds model versions by the sha256 that the lineage has of them, in one or several folders. */
export class ModelFiles {
  readonly #stores: readonly ModelStore[]
  readonly #found = new Map<string, LoadedModel | undefined>()

  constructor(folders: readonly string[]) {
    this.#stores = folders.map((folder) => new ModelStore(folder))
  }

  get folders(): readonly string[] {
    return this.#stores.map(({ root }) => root)
  }

  /** The files with this digest, checked; by their own name first. Undefined: they are in none of the folders, or were changed. */
  find(reference: string, sha256: string): LoadedModel | undefined {
    const known = this.#found.get(sha256)
    if (known || this.#found.has(sha256)) return known
    let found: LoadedModel | undefined
    for (const store of this.#stores) {
      for (const each of [reference, ...store.list().filter((other) => other !== reference)]) {
        const model = loaded(store, each)
        if (model && modelDigest(model.manifest) === sha256) found ??= model
        if (found) break
      }
    }
    this.#found.set(sha256, found)
    return found
  }
}

function loaded(store: ModelStore, reference: string): LoadedModel | undefined {
  try {
    return store.load(reference)
  } catch (error) {
    if (error instanceof HarrierError) return undefined
    throw error
  }
}
