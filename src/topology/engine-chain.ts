import type { Engine } from './engine.js'
import type { EngineState, EngineStats, StageStats } from './engine-stats.js'
import type { RunLineage } from './run-lineage.js'
import type { StageMetrics } from './stage-metrics.js'

/**
 * The stages of a topology in one process. Each is an engine with a group, a transaction and state of its own, so that
 * what befalls one does not hold up the others: an event is in the log between them.
 */
export class EngineChain {
  /** First stage to last. */
  readonly engines: readonly Engine[]
  readonly #lineages: ReadonlyMap<Engine, RunLineage>

  /** `lineages`: who tells of the runs of an engine to others. */
  constructor(engines: readonly Engine[], lineages: ReadonlyMap<Engine, RunLineage> = new Map()) {
    this.engines = engines
    this.#lineages = lineages
  }

  /** Runs until `stop`, or until one stage fails for good: then the others end with it. */
  async run(): Promise<void> {
    const runs = this.engines.map(async (engine) => {
      const lineage = this.#lineages.get(engine)
      lineage?.start()
      try {
        await engine.run()
        await lineage?.end()
      } catch (error) {
        await lineage?.end(error)
        throw error
      } finally {
        void this.stop()
      }
    })
    const ends = await Promise.allSettled(runs)
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  /** Ends after the batches that are folded have committed. */
  async stop(): Promise<void> {
    await Promise.all(this.engines.map((engine) => engine.stop()))
  }

  /** Of the first stage that is not running; `running` when all are. */
  get state(): EngineState {
    return this.engines.map(({ state }) => state).find((state) => state !== 'running') ?? 'running'
  }

  /** Of each stage, first to last. */
  metrics(): StageMetrics[] {
    return this.engines.map((engine) => engine.metrics())
  }

  /** As the last stage has them, which scores the events; where several stages have a part, together. Quantiles are since the call before. */
  stats(): EngineStats & { readonly stages: readonly StageStats[] } {
    const all = this.engines.map((engine) => engine.stats())
    const last = all.at(-1)!
    const sum = (pick: (stats: EngineStats) => number): number => all.reduce((total, stats) => total + pick(stats), 0)
    return {
      ...last,
      state: all.find(({ state }) => state !== 'running')?.state ?? 'running',
      counters: {
        ...last.counters,
        records: all[0]!.counters.records,
        deadLetters: sum(({ counters }) => counters.deadLetters),
        aborts: sum(({ counters }) => counters.aborts),
        restoredRecords: sum(({ counters }) => counters.restoredRecords),
      },
      lag: sum(({ lag }) => lag),
      checkpoint: { records: sum(({ checkpoint }) => checkpoint.records), bytes: sum(({ checkpoint }) => checkpoint.bytes), dirty: sum(({ checkpoint }) => checkpoint.dirty) },
      entities: sum(({ entities }) => entities),
      standby: { partitions: sum(({ standby }) => standby.partitions), entities: sum(({ standby }) => standby.entities) },
      stateBytes: sum(({ stateBytes }) => stateBytes),
      models: all.flatMap(({ models }) => models),
      tasks: all.flatMap(({ tasks }) => tasks),
      stages: this.engines.map((engine, index) => {
        const { state, counters, lag, entities, stateBytes, delayMs } = all[index]!
        return { stage: engine.stageName, state, records: counters.records, scored: counters.scored, labels: counters.labels, lag, entities, stateBytes, delayMs }
      }),
    }
  }
}
