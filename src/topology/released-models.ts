import { HarrierError } from '../base/errors.js'
import { modelDigest } from '../inference/manifest.js'
import type { ModelUse } from '../inference/scorer.js'
import type { LoadedModel } from '../inference/loaded-model.js'
import type { ReleasedModel, StageModels } from '../registry/release.js'
import { fileEpoch } from '../registry/stage-releases.js'
import type { Topology } from './load-topology.js'

/** Where model versions are found. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID; whoever opens a model checks its files. */
export interface ModelFinder {
  find(reference: string): LoadedModel | Promise<LoadedModel>
}

/**
 * The models of a stage by a release, champion first, and the one that the topology's fall-back names. Errors: those of the finder;
 * MODEL_INVALID where a version is not the one that was released.
 */
export async function releasedUses({ stage }: Topology, { models, revision }: Pick<StageModels, 'models' | 'revision'>, finder: ModelFinder): Promise<ModelUse[]> {
  const uses: ModelUse[] = []
  for (const { role, model: reference, sha256, share, epoch } of models) {
    const model = await finder.find(reference)
    const digest = modelDigest(model.manifest)
    if (digest !== sha256) {
      throw new HarrierError('MODEL_INVALID', `${reference} in ${model.folder} has sha256 ${digest}, and ${sha256} was released`, { remedy: 'restore the files that were registered, or register what is there as a new version and release that' })
    }
    uses.push({ model, role, share, epoch })
  }
  const fallback = fallbackModel(stage.policy.fallback)
  // By whatever release it comes in beside others, its states are those of this one.
  if (fallback !== undefined && !models.some(({ model }) => model === fallback)) uses.push({ model: await finder.find(fallback), role: 'fallback', epoch: revision + fileEpoch })
  return uses
}

/** The model that stands in for the champion, if one does. */
export function fallbackModel(fallback: Topology['stage']['policy']['fallback']): string | undefined {
  return typeof fallback === 'object' && 'model' in fallback ? fallback.model : undefined
}

/** The models that the topology file names: in force until something is released. */
export function namedModels({ stage: { models } }: Topology, digestOf: (reference: string) => string): ReleasedModel[] {
  const named = (role: ReleasedModel['role'], model: string): ReleasedModel => ({ role, model, sha256: digestOf(model), share: role === 'champion' ? 1 : 0, epoch: fileEpoch })
  return [...(models.champion === undefined ? [] : [named('champion', models.champion)]), ...models.shadows.map((model) => named('shadow', model))]
}
