import { Arena } from '../base/arena.js'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { LineageRecord } from '../codec/lineage-codec.js'
import type { SchemaLookup } from '../codec/registry-client.js'
import { hashKey } from '../entity/key-index.js'
import { createScorer } from '../inference/create-scorer.js'
import type { DevicePolicy } from '../inference/device.js'
import type { ModelRole, ModelUse } from '../inference/scorer.js'
import { frameRowsMax } from '../topology/day-calendar.js'
import type { Topology } from '../topology/load-topology.js'
import { stageCategories } from '../topology/open-scorer.js'
import { appendSlotRecord, readSlotRecord } from '../topology/slot-record.js'
import { Stage } from '../topology/stage.js'
import { Task } from '../topology/task.js'
import { versionKey, type ModelFiles } from './model-files.js'
import type { Snapshot } from './state-snapshots.js'

export interface ReplayedStageOptions {
  readonly view: Topology
  readonly partitions: number
  readonly schemas: SchemaLookup
  readonly models: ModelFiles
  readonly device: DevicePolicy
  readonly clock: Clock
  readonly logger: Logger
}

/** A stage with the models of a batch, and the one task that is computed again. */
export interface ReplayedStage {
  readonly stage: Stage
  readonly task: Task
  /** Models of the lineage whose files are in no folder: they do not run. */
  readonly missing: readonly string[]
  /** What the models were, for a look at the next batch. */
  readonly signature: string
}

/** Which models scored a batch, in words. */
export function modelsOf({ models }: Pick<LineageRecord, 'models'>): string {
  return models.map((model) => `${model.role} ${model.share} ${versionKey(model)} ${model.epoch}`).join(', ')
}

/** Opens the models that the lineage names, whatever the topology's file says now. */
export async function openReplayedStage(lineage: LineageRecord, partition: number, options: ReplayedStageOptions): Promise<ReplayedStage> {
  const { view, partitions, schemas, models, device, clock, logger } = options
  const missing: string[] = []
  const uses: ModelUse[] = []
  for (const version of lineage.models) {
    const { role, share, model, sha256, epoch } = version
    const found = await models.find(version)
    if (found) uses.push({ model: found, role: role as ModelRole, epoch, ...(role === 'champion' || role === 'challenger' ? { share } : {}) })
    else missing.push(`${model} (sha256 ${sha256.slice(0, 12)}…)`)
  }
  const scorer = await createScorer({
    features: view.stage.features.map(({ name }) => name),
    categories: stageCategories(view.stage),
    window: view.stage.ring,
    models: uses,
    device,
    workers: 0,
    clock,
    logger,
    limits: { rowsMax: frameRowsMax(view.stage, view.place, view.spec.limits), framesMax: 2 },
  })
  const stage = new Stage(view, scorer, schemas, partitions)
  const task = stage.addTask(partition, new Task(lineage.task, partition, stage.store, taskParts(stage, partition)))
  return { stage, task, missing, signature: modelsOf(lineage) }
}

function taskParts(stage: Stage, partition: number): { labels: Task['labels']; upstream: Task['upstream'] } {
  const { labels, upstream } = stage.makeTask(partition)
  return { labels, upstream }
}

/**
 * Takes entities, labels and times over from one set of models to another, as a restart of the engine does: a hidden state of
 * the same file is carried on, one of another is warmed from the ring.
 */
export function takeOver(from: ReplayedStage, to: ReplayedStage): ReplayedStage {
  const { task: old, stage: before } = from
  const arena = new Arena()
  for (const slot of old.index) {
    arena.reset()
    const asOf = before.store.asOf(slot)
    const length = appendSlotRecord(arena, { store: before.store, memory: before.scorer.memory }, slot, asOf, before.turns?.isBlank(slot))
    putSlot(to, before.store.slots.keyOf(slot), arena.bytes.slice(0, length), () => 'the replay itself')
  }
  const task = new Task(to.task.name, to.task.partition, to.stage.store, { labels: old.labels, upstream: old.upstream })
  for (const slot of to.task.index) task.index.add(slot)
  to.stage.tasks[task.partition] = task
  task.streamTimeMs = old.streamTimeMs
  task.position = old.position
  task.turnPosition = old.turnPosition
  return { ...to, task }
}

/** Errors: RESTORE_IMPOSSIBLE, LAYOUT_CHANGED, where the record does not fit. */
export function putSnapshot({ stage, task }: ReplayedStage, { entity, value, asOf }: Snapshot): void {
  putSlot({ stage, task }, Buffer.from(entity), value, () => `the changelog, batch ${asOf}`)
}

function putSlot({ stage, task }: Pick<ReplayedStage, 'stage' | 'task'>, key: Uint8Array, value: Uint8Array, where: () => string): void {
  const { store, scorer } = stage
  const slot = store.allocate()
  store.slots.setKey(slot, key, 0, key.length, hashKey(key, 0, key.length))
  store.setOwner(slot, task.partition)
  task.index.add(slot)
  scorer.memory.ensureSlots(slot + 1)
  readSlotRecord(value, { store, memory: scorer.memory }, slot, where)
}
