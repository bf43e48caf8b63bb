import { Condition } from '../base/condition.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { ScoreOptions } from '../inference/scorer.js'
import { Disposition, type Batch } from './batch.js'
import { Forwarding } from './forwarding.js'
import type { Stage } from './stage.js'

/** What a caller wants to know again of a record when its event comes out of the last stage; `noTag` for what is no event. */
export type Tags = Float64Array
export const noTag = -1

/** Batches of one stage that are folded and not done: one is scored while the next is folded. */
const batchesInFlight = 3
/** Frames that the scorer of a stage needs. */
export const framesNeeded = batchesInFlight + 1

/** A batch on its way through one stage, and the tag of each of its records. */
export interface TaggedBatch {
  readonly batch: Batch
  readonly tags: Tags
}

export interface StageChainOptions {
  /** Stages that follow each other, each with a task for every partition. */
  readonly stages: readonly Stage[]
  readonly partitions: number
  /** A decoded batch of the first stage, before it is folded: labels that are known by then go into the queues. */
  readonly beforeFold?: ((batch: TaggedBatch) => void | Promise<void>) | undefined
  /** How the last stage scores a decoded batch; before the last stage everything is scored, since it is passed on. */
  readonly scoring?: ((batch: Batch) => ScoreOptions) | undefined
  /** Records of any stage that became dead letters are in `batch.causes`. */
  readonly onRefused: (batch: Batch) => void
  /** A batch of the last stage, scored. It is used again when the promise is fulfilled. */
  readonly onScored: (batch: TaggedBatch) => void | Promise<void>
}

/**
 * Takes records through stages without a broker, by the code that scores the stream: what one stage passes on goes straight to
 * the next, in the order of the events. State is only folded: no batch is rolled back, no outputs or changelog are written.
 *
 * Batches overlap: while one is scored in a worker the next is folded. They come out in the order in which they went in.
 */
export class StageChain {
  readonly #links: readonly Link[]

  constructor(options: StageChainOptions) {
    const links: Link[] = []
    for (const stage of [...options.stages].reverse()) links.unshift(new Link(stage, links[0], links.length + 1 === options.stages.length, options))
    this.#links = links
  }

  /** Records [from, to) of columns, which may be used again when the promise is fulfilled. Errors: those of the models. */
  push(columns: RecordColumns, tags: Tags, from = 0, to = columns.count): Promise<void> {
    return this.#links[0]!.push(columns, tags, from, to)
  }

  /** Waits until everything has come out. */
  async flush(): Promise<void> {
    for (const link of this.#links) await link.flush()
  }
}

class Link {
  readonly #stage: Stage
  readonly #next: Link | undefined
  readonly #options: StageChainOptions
  readonly #isFirst: boolean
  readonly #forwarding: Forwarding | null
  readonly #free: TaggedBatch[]
  readonly #changed = new Condition()
  #filling: TaggedBatch | undefined
  #done: Promise<void> = Promise.resolve()
  #failure: Error | undefined
  /** Next offset of each partition, after the first stage. */
  readonly #offsets: Float64Array
  #forwardedTags: Tags = new Float64Array(0)

  constructor(stage: Stage, next: Link | undefined, isFirst: boolean, options: StageChainOptions) {
    this.#stage = stage
    this.#next = next
    this.#options = options
    this.#isFirst = isFirst
    this.#forwarding = next ? new Forwarding(stage.topology, 0, options.partitions) : null
    this.#offsets = new Float64Array(options.partitions)
    this.#free = Array.from({ length: batchesInFlight }, () => {
      const batch = stage.makeBatch({ restoring: true })
      batch.labelsTo!.fill(Infinity)
      batch.sweepTo = Infinity
      return { batch, tags: new Float64Array(batch.records.recordsMax) }
    })
  }

  async push(columns: RecordColumns, tags: Tags, from: number, to: number): Promise<void> {
    for (let row = from; row < to; row++) {
      const { batch, tags: into } = (this.#filling ??= await this.#emptyBatch())
      const { records } = batch
      const taken = records.copyRow(columns, row)
      if (!this.#isFirst) records.offset[taken] = this.#offsets[records.partition[taken]!]!++
      into[taken] = tags[row]!
      if (records.count === batch.recordsMax || records.arena.used > records.arena.bytesMax / 4) await this.#begin()
    }
  }

  async flush(): Promise<void> {
    if (this.#filling && this.#filling.batch.records.count > 0) await this.#begin()
    for (const task of this.#stage.tasks) {
      // Days that have ended and that no sweep has come to.
      while (task && this.#stage.turns?.owes(task) === true) {
        this.#filling ??= await this.#emptyBatch()
        this.#filling.batch.partFor(task, task.position)
        await this.#begin()
      }
    }
    await this.#done
    this.#rethrow()
  }

  async #emptyBatch(): Promise<TaggedBatch> {
    await this.#changed.until(() => this.#free.length > 0 || this.#failure !== undefined)
    this.#rethrow()
    const free = this.#free.pop()!
    free.batch.reset()
    // Days that turn are rows behind the records.
    free.tags.fill(noTag)
    return free
  }

  #rethrow(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Folds what has gathered, and scores it beside what comes next. */
  async #begin(): Promise<void> {
    const stage = this.#stage
    const filled = this.#filling!
    this.#filling = undefined
    const { batch } = filled
    const loading = stage.decoder.prepare(batch.records)
    if (loading) await loading
    stage.decode(batch)
    if (this.#isFirst) await this.#options.beforeFold?.(filled)
    stage.fold(batch)
    const options = this.#next ? {} : this.#options.scoring?.(batch)
    const scored = stage.scorer.models.length > 0 ? stage.score(batch, options) : undefined
    const before = this.#done
    this.#done = this.#finish(filled, scored, before).catch((error: unknown) => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
      this.#changed.notify()
    })
  }

  async #finish(filled: TaggedBatch, scored: Promise<void> | undefined, before: Promise<void>): Promise<void> {
    await scored
    await before
    this.#rethrow()
    const { batch } = filled
    this.#options.onRefused(batch)
    if (this.#next) await this.#passOn(this.#next, filled)
    else await this.#options.onScored(filled)
    for (const { task } of batch.parts) task.labels?.drop(task.labels.position)
    this.#stage.finishRestored(batch)
    this.#free.push(filled)
    this.#changed.notify()
  }

  /** What a folded batch passes to the next stage: its events, and labels in their place among them. */
  async #passOn(next: Link, { batch, tags }: TaggedBatch): Promise<void> {
    const forwarding = this.#forwarding!
    const { outputs, records } = batch
    const rowsMax = records.count + batch.labels.length
    outputs.makeRoom(rowsMax)
    if (this.#forwardedTags.length < rowsMax) this.#forwardedTags = new Float64Array(2 * rowsMax)
    const forwarded = this.#forwardedTags
    let tagged = 0
    for (let row = 0; row < records.count; row++) {
      const partition = records.partition[row]!
      for (let i = 0; i < batch.labelCount[row]!; i++) forwarding.label(batch, partition, batch.labels[batch.labelStart[row]! + i]!)
      if (batch.disposition[row] === Disposition.label) forwarding.forwardedLabel(batch, partition, row)
      while (tagged < outputs.count) forwarded[tagged++] = noTag
      if (batch.frameRow[row]! < 0) continue
      forwarding.event(batch, partition, row)
      forwarded[tagged++] = tags[row]!
    }
    await next.push(outputs, forwarded, 0, outputs.count)
  }
}
