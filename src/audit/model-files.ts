import { HarrierError, type ErrorCode } from '../base/errors.js'
import { modelDigest } from '../inference/manifest.js'
import { ModelStore, type LoadedModel, type ModelLibrary } from '../inference/model-store.js'

/** What is wrong with one version; all else is wrong with where it was looked for. */
const versionCodes: readonly ErrorCode[] = ['MODEL_NOT_FOUND', 'MANIFEST_INVALID', 'MODEL_INVALID']

/** Finds model versions by the sha256 that the lineage has of them, in one or several folders or libraries. */
export class ModelFiles {
  readonly #libraries: readonly ModelLibrary[]
  readonly #found = new Map<string, LoadedModel | undefined>()

  constructor(places: readonly (string | ModelLibrary)[]) {
    this.#libraries = places.map((place) => (typeof place === 'string' ? new ModelStore(place) : place))
  }

  get names(): readonly string[] {
    return this.#libraries.map(({ name }) => name)
  }

  /** The files with this digest, checked; by their own name first. Undefined: they are nowhere, or were changed. Errors: those of a library. */
  async find(reference: string, sha256: string): Promise<LoadedModel | undefined> {
    if (this.#found.has(sha256)) return this.#found.get(sha256)
    let found: LoadedModel | undefined
    for (const library of this.#libraries) found ??= (await versionIn(library, reference, sha256)) ?? (await anyVersionIn(library, reference, sha256))
    this.#found.set(sha256, found)
    return found
  }
}

async function anyVersionIn(library: ModelLibrary, reference: string, sha256: string): Promise<LoadedModel | undefined> {
  for (const other of await library.list()) {
    const found = other === reference ? undefined : await versionIn(library, other, sha256)
    if (found) return found
  }
  return undefined
}

async function versionIn(library: ModelLibrary, reference: string, sha256: string): Promise<LoadedModel | undefined> {
  try {
    return modelDigest((await library.look(reference)).manifest) === sha256 ? await library.load(reference) : undefined
  } catch (error) {
    if (error instanceof HarrierError && versionCodes.includes(error.code)) return undefined
    throw error
  }
}
