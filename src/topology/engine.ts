import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import { Condition } from '../base/condition.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { Turns } from '../base/turns.js'
import type { AssignmentHandlers, GroupConsumer, TopicPartition } from '../consumer/group-consumer.js'
import type { OutputPublisher } from '../producer/output-publisher.js'
import type { TransactionalProducer } from '../producer/transactional-producer.js'
import type { Batch } from './batch.js'
import { BatchPace } from './batch-pace.js'
import { assertOwned, commitBatches } from './batch-transaction.js'
import { batchesAheadMax, publishesEarly } from './delivery.js'
import { EngineCounters, engineStats, type EngineState, type EngineStats } from './engine-stats.js'
import { FoldedBatches } from './folded-batches.js'
import type { LabelReader } from './label-reader.js'
import type { ModelTurns } from './model-turns.js'
import type { TopologyNames } from './names.js'
import type { Outputs } from './outputs.js'
import type { TaskRestorer } from './restore.js'
import { orAborted, RestoreQueue } from './restore-queue.js'
import { watchRetention } from './retention-watch.js'
import type { Stage } from './stage.js'
import { stageMetrics, type StageMetrics } from './stage-metrics.js'
import type { Standby } from './standby.js'

/** After an aborted transaction: 10 ms, doubled up to this. */
const backoffMsMin = 10
const backoffMsMax = 2000
/** An idle poll returns after so long, so that stopping is quick. */
const idlePollMsMax = 100
/** After its producer was fenced: two heartbeats, within which a twin that took over the identity would have fenced the membership too. */
const twinShowsMsMax = 3000
/** A folder that has waited so long for a free batch pauses its partitions and goes on polling. */
const parkedMsMax = 500
const heldPollMsMax = 20
/** How often the start of the input is compared with what a restore would need. */
const retentionCheckMs = 30_000

export interface EngineParts {
  readonly stage: Stage
  readonly outputs: Outputs
  readonly names: TopologyNames
  readonly producer: TransactionalProducer
  /** Writes scored events and alerts where `delivery: atLeastOnce` lets them out before their transaction. */
  readonly publisher?: OutputPublisher | undefined
  readonly restorer: TaskRestorer
  readonly standby?: Standby | undefined
  /** Follows the releases of the stage; absent where its models stay as they are. */
  readonly modelTurns?: ModelTurns | undefined
  /** Reads the labels of the stage; absent where it reads none itself. */
  readonly makeLabelReader?: ((onFatal: (error: HarrierError) => void) => LabelReader) | undefined
  /** First offset of a partition of the input that has not been deleted. */
  readonly startOfInput: (partition: number) => Promise<number>
  readonly closeReaders: () => Promise<void>
  readonly makeConsumer: (handlers: AssignmentHandlers) => GroupConsumer
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Runs one stage on the partitions that the group gives it.
 *
 * Two coroutines share the main thread. The *folder* polls, decodes and folds, and sends frames to the scorer; what is scored
 * is decided and encoded in order, and published where outputs leave early (`FoldedBatches`); the *committer* takes what is ready.
 * So batch n+1 is folded and scored while batch n commits, and there is one transaction at a time.
 *
 *      folder:    poll -> decode -> update -> features -> (scorer's threads) --+
 *      committer:    policy <- scores <----------------------------------------+ -> produce -> send offsets -> commit
 *
 * Invariants:
 * 1. Batches commit in the order in which they were folded; at most `batchesAheadMax` of them wait behind the one that commits.
 * 2. A failed commit rolls back every folded batch, newest first, and reads again from the tasks' positions: no trace, no
 *    restore. Only where its outcome is not known are the tasks restored from the log.
 * 3. A partition is revoked only when the folder is parked and every folded batch has committed or been rolled back.
 * 4. Before offsets are sent every partition of the batch has been owned since its poll.
 * 5. Other models take over between two frames, while no task is being restored: a state belongs to the models that it was read for.
 */
export class Engine {
  readonly counters = new EngineCounters()
  readonly #parts: EngineParts
  readonly #consumer: GroupConsumer
  readonly #labels: LabelReader | undefined
  readonly #pace: BatchPace
  readonly #free: Batch[]
  readonly #folded: FoldedBatches
  /** Takes what an empty poll should not have given. */
  readonly #scrap: Batch
  readonly #changed = new Condition()
  readonly #restores = new RestoreQueue((partition, signal) => this.#restoreTask(partition, signal))
  readonly #seeks = new Turns()
  /** Reasons to hold the folder: a rebalance, a recovery. */
  #holds = 0
  #folderParked = false
  #committing = false
  #stopping = false
  #fatal: Error | undefined
  #abortsInARow = 0
  #loadingStopper = new AbortController()
  #running: Promise<void> | undefined

  constructor(parts: EngineParts) {
    this.#parts = parts
    const { stage, outputs, publisher } = parts
    const [early, aheadMax] = [publishesEarly(stage.topology), batchesAheadMax(stage.topology)]
    assert(early === (publisher !== undefined), 'what leaves early has a publisher')
    this.#pace = new BatchPace(stage.topology.spec.limits, { aheadMax, always: early })
    this.#free = Array.from({ length: aheadMax + 2 }, () => stage.makeBatch({ early }))
    const encode = (batch: Batch): void => (outputs.decide(batch), outputs.encode(batch))
    this.#folded = new FoldedBatches({ encode, publish: publisher && ((batch) => this.#publish(batch, publisher)) })
    this.#scrap = stage.makeBatch({ recordsMax: 1 })
    this.#labels = parts.makeLabelReader?.((error) => this.#fail(error))
    this.#consumer = parts.makeConsumer({
      onAssigned: (partitions) => this.#onAssigned(partitions),
      onRevoked: (partitions) => this.#release(partitions, 'revoked'),
      onLost: (partitions) => this.#release(partitions, 'lost'),
      onFatal: (error) => this.#fail(error),
    })
  }

  get stageName(): string {
    return this.#parts.stage.topology.stageName
  }

  /** Joins the group and runs until `stop`, or until it fails for good. What uses others is closed before them. */
  async run(): Promise<void> {
    const { producer, publisher, closeReaders, stage, logger, clock, standby, modelTurns } = this.#parts
    const failed = (error: unknown): void => this.#fail(error)
    try {
      await producer.init()
      this.#labels?.start()
      await standby?.warm()
      if (!this.#stopping) await this.#consumer.start()
      standby?.start()
      modelTurns?.start((takeOver) => this.#switchModels(takeOver))
      const stopWatching = clock.every(retentionCheckMs, () => void watchRetention(stage.tasks, this.#parts.startOfInput, logger).catch((error: unknown) => logger.log('warn', 'the start of the input could not be asked for', { cause: messageOf(error) })))
      this.#running = Promise.all([this.#foldBatches().catch(failed).finally(() => this.#endFolder()), this.#commitBatches().catch(failed)]).then(() => undefined)
      await this.#running.finally(stopWatching)
    } catch (error) {
      this.#fail(error)
    }
    const users = [async () => modelTurns?.stop(), async () => standby?.stop(), async () => this.#labels?.stop(), () => this.#consumer.stop().finally(() => this.#restores.ended())]
    for (const closes of [users, [closeReaders, () => producer.close(), async () => publisher?.close(), () => stage.scorer.close()]]) {
      await Promise.all(closes.map((close) => close().catch((error: unknown) => logger.log('warn', 'closing', { cause: messageOf(error) }))))
    }
    if (this.#fatal) throw this.#fatal
  }

  /** Whatever ended the folder, nobody waits for it any more. */
  #endFolder(): void {
    this.#folderParked = true
    this.#changed.notify()
  }

  /** Ends after the batches that are folded have committed. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#restores.close()
    this.#loadingStopper.abort()
    this.#parts.standby?.stop().catch(() => undefined)
    this.#changed.notify()
    await this.#running?.catch(() => undefined)
  }

  /** Steps 1 to 5 of the batch cycle. */
  async #foldBatches(): Promise<void> {
    const { stage, clock } = this.#parts
    const { batchRecordsMax } = stage.topology.spec.limits
    const ended = (): boolean => this.#stopping || this.#fatal !== undefined
    const mayPoll = (): boolean => this.#holds === 0 && this.#free.length > 0 && this.#folded.length <= this.#pace.foldedMax
    while (!ended()) {
      if (!mayPoll()) {
        await this.#park(() => ended() || mayPoll())
        continue
      }
      const batch = this.#free.pop()!
      batch.reset()
      batch.epoch = this.#consumer.assignmentEpoch
      const count = await this.#consumer.poll(batch.records, { recordsMax: batchRecordsMax, delayMsMax: idlePollMsMax, fillMsMax: this.#pace.fillMs(clock.monotonicMs()) }).catch((error: unknown) => {
        this.#fail(error)
        return 0
      })
      // Without records there may still be changes that have waited long enough to go on the changelog, and days to turn.
      if (this.#fatal || (count === 0 && !stage.checkpointer.isOverdue(clock.monotonicMs()))) {
        this.#free.push(batch)
        this.#changed.notify()
        continue
      }
      batch.polledAtMs = clock.monotonicMs()
      this.#pace.polled(count, batch.polledAtMs)
      const loading = stage.decoder.prepare(batch.records, 0, this.#loadingStopper.signal)
      if (loading && !(await this.#loadWhilePolling(loading))) {
        await this.#unpoll(batch)
        continue
      }
      if (this.#labels) {
        stage.decode(batch)
        for (const [task, timeMs] of stage.newestTimes(batch)) await this.#labels.covers(task, timeMs, this.#loadingStopper.signal)
      }
      await this.#checkpoint(batch)
      if (count === 0 && batch.parts.length === 0) {
        this.#free.push(batch)
        continue
      }
      stage.fold(batch)
      const scored = stage.score(batch)
      scored.catch((error: unknown) => this.#fail(error))
      this.#folded.push(batch, scored)
      this.#changed.notify()
    }
  }

  /** Some changelog records into the batch's transaction, before its own changes. */
  async #checkpoint(batch: Batch): Promise<void> {
    const { stage, clock } = this.#parts
    const nowMs = clock.monotonicMs()
    if (!stage.isAtRest && !stage.checkpointer.isDue(nowMs)) return stage.checkpointer.turn(batch, nowMs)
    // Frozen, not only at rest: a restore that scores frame after frame would never leave it a moment.
    await stage.frozen(() => stage.checkpointer.turn(batch, clock.monotonicMs()))
  }

  async #publish(batch: Batch, publisher: OutputPublisher): Promise<void> {
    assertOwned(batch, this.#parts.names, this.#consumer)
    await publisher.publish(batch.early, this.#parts.names.sinks)
    batch.publishedAtMs = this.#parts.clock.nowMs()
  }

  /** The transactions. */
  async #commitBatches(): Promise<void> {
    const { stage, modelTurns, clock } = this.#parts
    for (;;) {
      await this.#changed.until(() => this.#folded.length > 0 || (this.#stopping && this.#folderParked) || this.#fatal !== undefined)
      if (this.#fatal || this.#folded.length === 0) return
      this.#committing = true
      try {
        const batches = await this.#folded.next()
        const startedMs = clock.monotonicMs()
        await commitBatches(batches, { ...this.#parts, consumer: this.#consumer })
        this.counters.commit.add(clock.monotonicMs() - startedMs)
        for (const batch of batches) {
          modelTurns?.committed(batch)
          this.#folded.shift()
          stage.commit(batch)
          this.counters.countBatch(batch, clock)
          this.#free.push(batch)
        }
        this.#abortsInARow = 0
      } catch (error) {
        await this.#recover(error)
      }
      this.#committing = false
      this.#changed.notify()
    }
  }

  /** A batch could not commit: as if it and those after it had never been polled. */
  async #recover(error: unknown): Promise<void> {
    const { clock, logger, stage } = this.#parts
    if (!(error instanceof HarrierError) || error.consequence === 'fatal') return this.#fail(error)
    this.#abortsInARow++
    this.counters.aborts++
    logger.log('warn', 'transaction aborted; its batches are processed again', { code: error.code, cause: error.message, inARow: this.#abortsInARow })
    if (this.#abortsInARow > stage.topology.spec.limits.abortsInARowMax) {
      return this.#fail(new HarrierError('TRANSACTION_ABORTED', `${this.#abortsInARow} transactions in a row were aborted; the last: ${error.message}`))
    }
    this.#holds++
    this.#loadingStopper.abort()
    try {
      await this.#changed.until(() => this.#folderParked)
      if (needsNewProducer(error) || !(await this.#aborted())) await this.#startOver()
      else {
        await this.#rollbackAll()
        await this.#seekToPositions()
      }
      await clock.sleep(Math.min(backoffMsMax, backoffMsMin << Math.min(10, this.#abortsInARow - 1)))
    } catch (failure) {
      this.#fail(failure)
    } finally {
      this.#holds--
      this.#renewLoading()
    }
  }

  /** False when the broker has ended the transaction before us (an abort of nothing is fatal to the producer), or did not answer. */
  async #aborted(): Promise<boolean> {
    try {
      await this.#parts.producer.abort()
      return true
    } catch (error) {
      if (needsNewProducer(error)) return false
      throw error
    }
  }

  /**
   * The broker has ended the transaction (it was away, or this process stood still) or does not answer, and whether the
   * batch has committed is not known. A new epoch of the producer settles it; then every task is restored from what has committed.
   */
  async #startOver(): Promise<void> {
    const { producer, clock, stage } = this.#parts
    await clock.sleep(twinShowsMsMax)
    if (this.#fatal) return
    await producer.init()
    await this.#rollbackAll()
    const partitions = this.#consumer.assignment().filter(({ partition }) => stage.tasks[partition] && !this.#restores.has(partition))
    this.#consumer.pause(partitions)
    const starts = partitions.map(({ partition }) => stage.tasks[partition]!.position)
    for (const { partition } of partitions) this.#dropTask(partition)
    this.#onAssigned(partitions).catch((failure: unknown) => this.#fail(failure))
    // A partition of which nothing has committed yet has no journal that says where it begins; the consumer is past that.
    partitions.forEach(({ partition }, index) => (stage.tasks[partition]!.position = starts[index]!))
  }

  async #rollbackAll(): Promise<void> {
    await this.#folded.halt()
    await this.#parts.stage.frozen(() => {
      for (let batch = this.#folded.pop(); batch; batch = this.#folded.pop()) {
        this.#parts.stage.rollback(batch)
        this.#free.push(batch)
      }
    })
  }

  /** A batch that was polled and not folded: its records come again. */
  async #unpoll(batch: Batch): Promise<void> {
    const { records } = batch
    for (let row = 0; row < records.count; row++) {
      const task = this.#parts.stage.tasks[records.partition[row]!]
      if (task && task.position < 0) task.position = records.offset[row]!
    }
    await this.#seekToPositions()
    this.#free.push(batch)
  }

  /** One seek at a time: two of one partition would each close what the other has opened. */
  #seek(partition: TopicPartition, offset: number): Promise<void> {
    return this.#seeks.take(() => this.#consumer.seek(partition, offset))
  }

  async #seekToPositions(): Promise<void> {
    const { stage, names } = this.#parts
    for (const { partition } of this.#consumer.assignment()) {
      const task = stage.tasks[partition]
      if (task && task.position >= 0 && !this.#restores.has(partition)) await this.#seek({ topic: names.input, partition }, task.position)
    }
  }

  /** New partitions arrive paused: restore each, then let its records come. Others go on being scored meanwhile. */
  async #onAssigned(partitions: readonly TopicPartition[]): Promise<void> {
    for (const { partition } of partitions) this.#parts.stage.addTask(partition, this.#parts.standby?.take(partition))
    await this.#restores.add(partitions.map(({ partition }) => partition))
  }

  async #restoreTask(partition: number, signal: AbortSignal): Promise<void> {
    const { stage, restorer, names, logger, clock } = this.#parts
    const task = stage.tasks[partition]
    assert(task, 'a task that is restored exists')
    const topicPartition = { topic: names.input, partition }
    const [startedMs, warmEntities] = [clock.monotonicMs(), task.index.size]
    // A revocation waits until this has ended, and the broker may let these two wait long.
    await orAborted(restorer.freePredecessor(task), signal)
    const [committed] = await orAborted(this.#consumer.committed([topicPartition]), signal)
    const restored = await restorer.restore(stage, task, committed!.offset, signal)
    this.counters.restores++
    this.counters.restoredRecords += restored.records
    if (!signal.aborted) this.#labels?.attach(task)
    if (task.position >= 0) await this.#seek(topicPartition, task.position)
    if (signal.aborted) return
    const { name, nextSequence: sequence, position } = task
    await this.#consumer.resume([topicPartition])
    logger.log('info', 'task ready', { task: name, sequence, position, restored: restored.records, entities: task.index.size, warmEntities, ms: Math.round(clock.monotonicMs() - startedMs) })
  }

  /** Invariant 3. After a loss nothing in flight may commit; after a revocation everything in flight does. */
  async #release(partitions: readonly TopicPartition[], how: 'revoked' | 'lost'): Promise<void> {
    this.#holds++
    this.#loadingStopper.abort()
    try {
      await this.#restores.cancel(partitions.map(({ partition }) => partition))
      await this.#changed.until(() => this.#folderParked && (how === 'lost' ? !this.#committing : this.#folded.length === 0 && !this.#committing) || this.#fatal !== undefined)
      if (this.#fatal) return
      // Meanwhile a commit of unknown outcome may have begun to restore them anew.
      await this.#restores.cancel(partitions.map(({ partition }) => partition))
      if (how === 'lost') {
        await this.#rollbackAll()
        await this.#seekToPositions()
      }
      for (const { partition } of partitions) this.#dropTask(partition)
    } finally {
      this.#holds--
      this.#renewLoading()
      this.#changed.notify()
    }
  }

  /** Invariant 5. What restores and copies have read of hidden states was read for the models before: they begin anew. */
  async #switchModels(takeOver: () => Promise<void>): Promise<void> {
    await this.#restores.standAside(
      async () => {
        this.#parts.standby?.forget()
        await takeOver()
      },
      (partitions) => {
        for (const partition of partitions) this.#dropTask(partition)
        this.#onAssigned(partitions.map((partition) => ({ topic: this.#parts.names.input, partition }))).catch((error: unknown) => this.#fail(error))
      },
    )
  }

  #dropTask(partition: number): void {
    this.#labels?.detach(partition)
    this.#parts.stage.dropTask(partition)
  }

  /** Schemas may be waited for again, unless the engine ends. */
  #renewLoading(): void {
    if (!this.#stopping && !this.#fatal && this.#holds === 0) this.#loadingStopper = new AbortController()
  }

  async #park(until: () => boolean): Promise<void> {
    this.#folderParked = true
    this.#changed.notify()
    if (!(await this.#changed.within(until, parkedMsMax, this.#parts.clock))) await this.#holdBack(until)
    this.#folderParked = false
  }

  /** Waits for schemas. False when a rebalance or a stop came first. */
  async #loadWhilePolling(loading: Promise<void>): Promise<boolean> {
    let outcome: 'pending' | 'loaded' | 'stopped' = 'pending'
    loading.then(
      () => (outcome = 'loaded'),
      (error: unknown) => {
        outcome = 'stopped'
        if (!this.#loadingStopper.signal.aborted && !(error instanceof HarrierError && error.code === 'REGISTRY_UNAVAILABLE')) this.#fail(error)
      },
    )
    await this.#holdBack(() => (outcome as string) !== 'pending')
    return (outcome as string) === 'loaded'
  }

  /** Back pressure: partitions are paused, and empty polls keep the membership alive, until the condition holds. */
  async #holdBack(until: () => boolean): Promise<void> {
    const { names } = this.#parts
    this.#consumer.pause(this.#consumer.assignment())
    while (!until() && !this.#fatal) {
      const scrap = this.#scrap.records
      scrap.reset()
      const strays = await this.#consumer.poll(scrap, { recordsMax: 1, delayMsMax: heldPollMsMax })
      if (strays === 0) continue
      // A restored partition was opened meanwhile: its record is read again later.
      const stray = { topic: names.input, partition: scrap.partition[0]! }
      this.#consumer.pause([stray])
      await this.#seek(stray, scrap.offset[0]!)
    }
    if (!this.#fatal) await this.#consumer.resume(this.#consumer.assignment().filter(({ partition }) => !this.#restores.has(partition)))
  }

  #fail(error: unknown): void {
    this.#fatal ??= error instanceof Error ? error : new Error(messageOf(error))
    this.#restores.close()
    this.#loadingStopper.abort()
    this.#changed.notify()
  }

  get state(): EngineState {
    if (this.#fatal) return 'failed'
    if (this.#stopping) return 'stopping'
    return this.#restores.size > 0 ? 'restoring' : this.#parts.stage.tasks.some(Boolean) ? 'running' : 'joining'
  }

  /** Quantiles are since the call before. */
  stats(): EngineStats {
    const lag = this.#consumer.progress().reduce((sum, partition) => sum + partition.lag, 0)
    return engineStats({ ...this.#parts, state: this.state, lag, counters: this.counters, folded: this.#folded })
  }

  /** All since the start; takes nothing from `stats`. */
  metrics(): StageMetrics {
    return stageMetrics({ state: this.state, progress: this.#consumer.progress(), batchesAheadAllowed: this.#pace.foldedMax, counters: this.counters, ...this.#parts })
  }
}

/** The producer is dead, and with an abort the batch might be scored a second time: it may have committed. */
function needsNewProducer(error: unknown): boolean {
  return error instanceof HarrierError && (error.code === 'FENCED' || error.code === 'BROKER_UNAVAILABLE')
}
