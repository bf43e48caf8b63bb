import type { Clock } from '../../base/clock.js'
import { HarrierError } from '../../base/errors.js'
import type { RecordColumns } from '../../base/record-columns.js'
import { GenericDecoder } from '../../codec/generic-decoder.js'
import { RegistryClient } from '../../codec/registry-client.js'
import { connectLimits } from '../../connection/security.js'
import { withAdmin } from '../../consumer/admin.js'
import { KafkaSink } from '../../simulator/kafka-sink.js'
import { LiveSimulator } from '../../simulator/live-simulator.js'
import { secondsPerDay } from '../../simulator/parameters.js'
import type { TransactionTable } from '../../simulator/transaction-table.js'
import { connectionArguments, type Connections } from '../../stack/connections.js'
import type { Topology } from '../../topology/load-topology.js'
import { topologyNames, type TopologyNames } from '../../topology/names.js'
import { inputTopicConfig, outputTopics } from '../../topology/open-engine.js'
import { DemoCounts } from './demo-counts.js'
import { demoEpochMs, type DemoPlan } from './demo-plan.js'
import type { DemoPhase, DemoState } from './demo-state.js'
import { EngineProcess } from './engine-process.js'
import { HeldSink } from './held-sink.js'
import { idOfOutput, idOfTransaction } from './output-ids.js'
import { TopicFollower } from '../../consumer/topic-follower.js'

export const demoLimits = {
  partitions: 4,
  /** Without a single new result for so long the rest counts as missing. Longer than a restore and an aborted transaction. */
  resultMsMax: 60_000,
  /** The same when the person wants to leave. */
  leaveDrainMsMax: 1_000,
  leaveFlushMsMax: 1_000,
  leaveEngineMsMax: 1_800,
  /** At an end of its own there is time for an orderly stop. */
  endEngineMsMax: 5_000,
  /** Reading what the last transactions committed. */
  lastReadMsMax: 2_000,
  leaveReadMsMax: 400,
  pollMs: 20,
  labelDelayMs: 7 * secondsPerDay * 1000,
} as const

export interface DemoOptions {
  readonly connections: Connections
  readonly topology: Topology
  readonly namespace: string
  readonly table: TransactionTable
  readonly plan: DemoPlan
  readonly perSecond: number
  readonly killAfter: number | undefined
  /** More options of `harrier run`. */
  readonly engineArgs: readonly string[]
  readonly clock: Clock
}

/** What happened, once everything has stopped. */
export interface DemoResult {
  readonly state: DemoState
  /** All transactions that were wanted came out. */
  readonly complete: boolean
  readonly seconds: number
  /** Results by the seconds from the first to the last, time without an engine included. */
  readonly eventsPerSecond: number
  /** Of the transactions that came at a pace. */
  readonly delayMs: { readonly p50: number; readonly p99: number }
  /** The engine ended by itself: how, and its last lines. */
  readonly death: { readonly how: string; readonly lastLines: readonly string[] } | undefined
}

/**
 * The demonstration: simulator and verifier in this process, the engine as a child, on topics of a namespace of its own.
 *
 * Owns: the simulator with its producer, the follower, the engine's process. The broker stays when it ends.
 */
export class Demo {
  readonly names: TopologyNames
  readonly engine: EngineProcess
  readonly #options: DemoOptions
  readonly #historyEvents: number
  /** So many transactions are sent before the last of history, which waits until the engine has caught up. */
  readonly #heldFrom: number
  readonly #counts: DemoCounts
  readonly #decoder: GenericDecoder
  readonly #follower: TopicFollower
  readonly #leaving = new AbortController()
  #failure: Error | undefined
  #death: DemoResult['death']
  #sink: HeldSink | undefined
  #simulator: LiveSimulator | undefined
  #phase: DemoPhase = 'history'
  #startedMs = 0
  #endedMs: number | undefined

  constructor(options: DemoOptions) {
    const { table, plan, clock, connections, namespace, topology } = options
    const { firstRow, pacedRow, endRow } = plan
    this.#options = options
    this.names = topologyNames(topology, namespace)
    this.#historyEvents = pacedRow - firstRow
    this.#heldFrom = Math.max(0, this.#historyEvents - 1)
    const scenarioOf = (id: number): number => table.scenario[id] ?? 0
    this.#counts = new DemoCounts({ clock, partitions: demoLimits.partitions, firstId: firstRow, pacedFrom: pacedRow, endId: endRow, scenarioOf })
    this.#decoder = new GenericDecoder(new RegistryClient(connections.registryUrl, { clock, security: connections.registrySecurity }))
    this.#follower = new TopicFollower(connections, clock)
    const engineArgs = ['--topology', topology.file, '--namespace', namespace, '--instance-id', 'demo']
    this.engine = new EngineProcess({
      args: [...engineArgs, ...connectionArguments(connections), ...options.engineArgs],
      clock,
      onDeath: (how, lastLines) => {
        this.#death = { how, lastLines }
        this.leave()
      },
    })
  }

  get namespace(): string {
    return this.#options.namespace
  }

  /** Topics, engine, reader and simulator. */
  async #start(onStep: (text: string) => void): Promise<void> {
    const { connections, clock, table, plan, namespace } = this.#options
    onStep(`creating topics ${namespace}.*`)
    const { partitions } = demoLimits
    const inputs = [this.names.input, `${namespace}.labels`].map((topic) => ({ topic, partitions, config: inputTopicConfig }))
    const { brokers, security } = connections
    await withAdmin({ brokers, security, clock, ...connectLimits(connections) }, (admin) => admin.ensureTopics([...inputs, ...outputTopics(this.names, partitions)], { create: true }))
    if (this.#leaving.signal.aborted) return
    onStep('starting the engine')
    this.engine.start()
    await this.#follower.connect()
    const { scored, deadLetters, alerts } = this.names
    const topics = [scored, deadLetters, alerts]
    const from = topics.flatMap((topic) => Array.from({ length: demoLimits.partitions }, (_, partition) => ({ topic, partition, offset: 'earliest' as const })))
    this.#follower.follow(from, (columns, topics) => this.#read(columns, topics)).catch((error: unknown) => this.#fail(error))
    const { labelDelayMs } = demoLimits
    const epochMs = demoEpochMs
    const sink = await KafkaSink.open(
      { ...connections, format: 'avro', transactionsTopic: this.names.input, labelsTopic: `${namespace}.labels`, clock, epochMs, labelDelayMs },
      this.#leaving.signal,
    )
    this.#sink = new HeldSink(sink, plan.firstRow + this.#heldFrom)
    this.#startedMs = clock.monotonicMs()
    this.#simulator = new LiveSimulator({
      source: table,
      sink: this.#sink,
      clock,
      epochMs,
      labels: 'all',
      labelDelayMs,
      pace: { kind: 'rate', perSecond: this.#options.perSecond },
      range: { fromDay: plan.fromDay },
      fastForwardDays: plan.pacedDay - plan.fromDay,
      eventsMax: plan.endRow - plan.firstRow,
    })
    this.#simulator.done.catch((error: unknown) => this.#fail(error))
  }

  /**
   * Starts everything, runs until all events came out or until `leave`, and stops everything, whatever went wrong.
   * Throws what the start, the simulator or the reader threw.
   */
  async run(onStep: (text: string) => void, onStarted: () => void): Promise<DemoResult> {
    const stopTicks = this.#options.clock.every(1000, () => this.#counts.tick())
    let complete = false
    try {
      await this.#start(onStep)
      if (this.#simulator && !this.#leaving.signal.aborted) onStarted()
      complete = await this.#play()
    } catch (error) {
      this.#fail(error)
    } finally {
      await this.#stop()
      stopTicks()
    }
    if (this.#failure !== undefined) throw this.#failure
    const seconds = ((this.#endedMs ?? this.#options.clock.monotonicMs()) - this.#startedMs) / 1000
    const { delay, eventsPerSecond } = this.#counts
    const delayMs = { p50: delay.quantile(0.5), p99: delay.quantile(0.99) }
    return { state: this.state(), complete, seconds, eventsPerSecond, delayMs, death: this.#death }
  }

  /** Ends it, soon and in order. */
  leave(): void {
    this.#leaving.abort()
  }

  /** SIGKILL to the engine; a new one takes over. */
  kill(): void {
    this.engine.kill()
  }

  state(): DemoState {
    const { verifier, frauds, caught, fraudsDeclined, falseAlerts, perSecond, alertRows } = this.#counts
    const { plan } = this.#options
    const { seen, scored, deadLetters, duplicates, unexpected, alerts } = verifier
    const simulated = this.#simulator?.counters
    const produced = simulated?.sent ?? 0
    const { stats } = this.engine
    return {
      phase: this.#phase,
      namespace: this.#options.namespace,
      topology: this.#options.topology.name,
      elapsedMs: (this.#endedMs ?? this.#options.clock.monotonicMs()) - this.#startedMs,
      historyEvents: this.#historyEvents,
      historyDays: plan.pacedDay - plan.fromDay,
      eventTimeMs: simulated?.eventTimeMs ?? demoEpochMs + plan.fromDay * secondsPerDay * 1000,
      produced,
      scored,
      deadLetters,
      waiting: Math.max(0, produced - seen),
      missing: this.#phase === 'ended' && !this.#leaving.signal.aborted ? verifier.missingAtEnd(produced) : verifier.missing(),
      duplicates,
      unexpected,
      perSecond,
      delayMs: this.#counts.recentDelay(),
      kills: this.engine.kills,
      engine: { state: this.engine.state, upMs: this.engine.upMs },
      models: stats?.models ?? [],
      tasks: stats?.tasks ?? [],
      frauds: [...frauds.subarray(1)],
      fraudsCaught: [...caught.subarray(1)],
      fraudsDeclined,
      alerts,
      falseAlerts,
      alertRows,
    }
  }

  /** True when all that was produced has a result. */
  async #play(): Promise<boolean> {
    const { clock, killAfter } = this.#options
    const simulator = this.#simulator
    const { signal } = this.#leaving
    let killed = killAfter === undefined
    while (simulator && !signal.aborted) {
      const { seen } = this.#counts.verifier
      const { sent, phase } = simulator.counters
      if (!killed && seen >= killAfter!) {
        killed = true
        this.kill()
      }
      if (this.#phase === 'history' && this.#sink!.holding) this.#phase = 'catching-up'
      // Also where history is all that there is, nothing is held and the phase goes on.
      if (phase === 'paced') this.#phase = 'live'
      if (phase === 'ended') this.#phase = 'draining'
      if (this.#phase === 'catching-up' && seen >= this.#heldFrom) this.#sink!.release()
      if (this.#phase === 'draining' && seen >= sent) return true
      const sinceResultMs = clock.monotonicMs() - Math.max(this.#counts.lastResultMs, this.#startedMs)
      if (this.#phase !== 'history' && seen < sent && sinceResultMs > demoLimits.resultMsMax) return false
      await clock.sleep(demoLimits.pollMs, signal)
    }
    return false
  }

  async #stop(): Promise<void> {
    const { clock } = this.#options
    const leaving = this.#leaving.signal.aborted
    const { verifier } = this.#counts
    if (this.#simulator) {
      this.#sink?.release()
      const stopped = this.#simulator.stop().catch(() => undefined)
      await Promise.race([stopped, clock.sleep(demoLimits.leaveFlushMsMax)])
    }
    if (leaving && this.#death === undefined && this.#failure === undefined) {
      const endMs = clock.monotonicMs() + demoLimits.leaveDrainMsMax
      const produced = this.#simulator?.counters.sent ?? 0
      while (verifier.seen < produced && clock.monotonicMs() < endMs) await clock.sleep(demoLimits.pollMs)
    }
    await this.engine.stop(leaving ? demoLimits.leaveEngineMsMax : demoLimits.endEngineMsMax)
    // A reader that failed cannot be asked how far it is.
    await this.#follower.caughtUp(leaving ? demoLimits.leaveReadMsMax : demoLimits.lastReadMsMax).catch(() => false)
    this.#phase = 'ended'
    this.#endedMs = clock.monotonicMs()
    await this.#follower.close()
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new HarrierError('BROKER_UNAVAILABLE', String(error))
    this.leave()
  }

  async #read(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    for (let row = 0; row < columns.count; row++) {
      const topic = topics[columns.topic[row]!]
      const partition = columns.partition[row]!
      const value = columns.value(row)
      if (topic === this.names.scored) this.#counts.scored(partition, idOfOutput(value), columns.timestamp[row]!)
      else if (topic === this.names.deadLetters) this.#counts.deadLetter(partition, idOfTransaction(value))
      else await this.#readAlert(value)
    }
  }

  async #readAlert(value: Uint8Array | null): Promise<void> {
    const decoded = (await this.#decoder.decode(value, this.#leaving.signal)).value as AlertValue
    this.#counts.alert(idOfOutput(value), {
      eventTimeMs: Date.parse(decoded.event_time),
      card: decoded.entity,
      amountMinor: Number(decoded.attributes['amount'] ?? NaN),
      score: decoded.score,
      decision: decoded.decision,
      model: decoded.model,
      why: decoded.explanation?.reasons[0]?.text ?? decoded.model,
    })
  }
}

/** schemas/alert.avsc as the generic decoder gives it. */
interface AlertValue {
  readonly event_time: string
  readonly entity: string
  readonly score: number
  readonly decision: string
  readonly model: string
  readonly explanation?: { readonly reasons: readonly { readonly text: string }[] } | null
  readonly attributes: Readonly<Record<string, unknown>>
}
