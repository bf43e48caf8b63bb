import type { ResolvedModel } from '../codec/lineage-codec.js'
import { HarrierError, type ErrorCode } from '../base/errors.js'
import { manifestDigest, modelDigest } from '../inference/manifest.js'
import type { LoadedModel } from '../inference/loaded-model.js'
import { ModelStore, type ModelLibrary } from '../inference/model-store.js'

/** What is wrong with one version; all else is wrong with where it was looked for. */
const versionCodes: readonly ErrorCode[] = ['MODEL_NOT_FOUND', 'MANIFEST_INVALID', 'MODEL_INVALID']

/** A version as lineage names it. */
export type VersionOfRecord = Pick<ResolvedModel, 'model' | 'sha256' | 'manifest'>

/** Tells versions apart: two of them may have the same files, and manifests that read them in different ways. */
export function versionKey({ model, sha256, manifest }: VersionOfRecord): string {
  return `${model} ${sha256} ${manifest}`
}

/** Finds the model versions that the lineage names, in one or several folders or libraries. */
export class ModelFiles {
  readonly #libraries: readonly ModelLibrary[]
  readonly #found = new Map<string, LoadedModel | undefined>()

  constructor(places: readonly (string | ModelLibrary)[]) {
    this.#libraries = places.map((place) => (typeof place === 'string' ? new ModelStore(place) : place))
  }

  get names(): readonly string[] {
    return this.#libraries.map(({ name }) => name)
  }

  /**
   * The version with these digests, its files checked; by its own name first. Undefined: it is nowhere, or was changed. Errors: those
   * of a library.
   */
  async find(version: VersionOfRecord): Promise<LoadedModel | undefined> {
    const key = versionKey(version)
    if (this.#found.has(key)) return this.#found.get(key)
    let found: LoadedModel | undefined
    for (const library of this.#libraries) found ??= (await versionIn(library, version.model, version)) ?? (await anyVersionIn(library, version))
    this.#found.set(key, found)
    return found
  }
}

/** Under another name it is the same only where the lineage tells how its graph was read. */
async function anyVersionIn(library: ModelLibrary, version: VersionOfRecord): Promise<LoadedModel | undefined> {
  if (version.manifest === '') return undefined
  for (const other of await library.list()) {
    const found = other === version.model ? undefined : await versionIn(library, other, version)
    if (found) return found
  }
  return undefined
}

async function versionIn(library: ModelLibrary, reference: string, { sha256, manifest }: VersionOfRecord): Promise<LoadedModel | undefined> {
  try {
    const { manifest: here } = await library.look(reference)
    const isSame = modelDigest(here) === sha256 && (manifest === '' || manifestDigest(here) === manifest)
    return isSame ? await library.load(reference) : undefined
  } catch (error) {
    if (error instanceof HarrierError && versionCodes.includes(error.code)) return undefined
    throw error
  }
}
