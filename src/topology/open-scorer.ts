import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { createScorer } from '../inference/create-scorer.js'
import type { LoadedModel } from '../inference/loaded-model.js'
import { ModelStore, type ModelLibrary } from '../inference/model-store.js'
import { fellBack, type DevicePolicy } from '../inference/device.js'
import type { Categories } from '../inference/recodes.js'
import type { ModelUse, Scorer, ScorerModel } from '../inference/scorer.js'
import type { StageModels } from '../registry/release.js'
import { frameRowsMax } from './day-calendar.js'
import { batchesAheadMax } from './delivery.js'
import type { Topology } from './load-topology.js'
import { fallbackModel, releasedUses } from './released-models.js'
import type { StageSpec } from './topology-schema.js'

export const modelsFolder = fileURLToPath(new URL('../../../models', import.meta.url))

/** A folder of versions, by default that of Harrier, or what brings them into one. */
export type Models = string | ModelLibrary | undefined

export function modelLibrary(models: Models): ModelLibrary {
  return typeof models === 'object' ? models : new ModelStore(models ?? modelsFolder)
}

/** Frames beyond those of the batches ahead: the batch that commits, the batch being folded, two of a restore. */
const spareFrames = 4

/** A number that stays, or `auto`: see `WorkerRule`. */
export type Workers = number | 'auto'

export interface ScorerChoice {
  readonly topology: Topology
  readonly models?: Models
  readonly device?: DevicePolicy | undefined
  /** Threads that run models; 0: the calling thread. Default: by the topology. */
  readonly workers?: Workers | undefined
  /** What is released for the stage; undefined: the models that the topology names. */
  readonly released?: StageModels | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** The models of a topology, champion first: their order is the order of scores everywhere. */
export function modelUses(topology: Topology, store: { load(reference: string): LoadedModel }): ModelUse[] {
  const { models, policy } = topology.stage
  const uses: ModelUse[] = [
    ...(models.champion === undefined ? [] : [{ model: store.load(models.champion), role: 'champion' as const }]),
    ...models.shadows.map((reference) => ({ model: store.load(reference), role: 'shadow' as const })),
  ]
  const { fallback } = policy
  if (typeof fallback === 'object' && 'model' in fallback && !uses.some(({ model }) => model.reference === fallback.model)) {
    uses.push({ model: store.load(fallback.model), role: 'fallback' })
  }
  return uses
}

/** The same, of versions that may have to be brought here first. */
async function fetchedUses(topology: Topology, library: ModelLibrary): Promise<ModelUse[]> {
  const { models, policy } = topology.stage
  const named = [models.champion, ...models.shadows, fallbackModel(policy.fallback)].filter((each) => each !== undefined)
  const loaded = new Map<string, LoadedModel>()
  for (const reference of named) loaded.set(reference, await library.load(reference))
  return modelUses(topology, { load: (reference) => loaded.get(reference)! })
}

/** The vocabularies of a stage's category features. */
export function stageCategories(stage: Pick<StageSpec, 'features'>): Categories {
  return new Map(stage.features.flatMap((feature) => (feature.kind === 'category' ? [[feature.name, feature.values] as const] : [])))
}

/** Loads and opens the models of a topology. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID, DEVICE_UNAVAILABLE. */
export async function openScorer({ topology, models, device, workers, released, clock, logger }: ScorerChoice): Promise<Scorer> {
  const { stage, spec } = topology
  const library = modelLibrary(models)
  const scorer = await createScorer({
    features: stage.features.map((feature) => feature.name),
    categories: stageCategories(stage),
    window: stage.ring,
    models: released ? await releasedUses(topology, released, library) : await fetchedUses(topology, library),
    release: released?.revision ?? 0,
    device: device ?? stage.models.device,
    ...workersOf(workers ?? spec.limits.workers, spec.limits.workersMax),
    clock,
    logger,
    limits: { rowsMax: frameRowsMax(stage, topology.place, spec.limits), framesMax: batchesAheadMax(topology) + spareFrames },
  })
  tellOpened(scorer.models, logger)
  return scorer
}

function workersOf(workers: Workers, workersMax: number): { workers: number; workersMax: number } {
  return workers === 'auto' ? { workers: 1, workersMax: Math.min(workersMax, availableParallelism()) } : { workers, workersMax: workers }
}

/** Where each model runs, and its memory. */
export function tellOpened(models: readonly ScorerModel[], logger: Logger): void {
  for (const model of models) {
    const { reference, role, device, deviceNote, fileBytes, openedBytes } = model
    logger.log('info', 'a model is open', { model: reference, role, device, ...(deviceNote === null ? {} : { deviceNote }), fileBytes, openedBytes })
    if (fellBack(model)) logger.log('warn', 'a model fell back to the CPU', { model: reference, deviceNote })
  }
}
