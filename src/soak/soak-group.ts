import { HarrierError, messageOf } from '../base/errors.js'
import type { Clock } from '../base/clock.js'
import { connectLimits } from '../connection/security.js'
import { KafkaAdmin } from '../consumer/admin.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { Connections } from '../stack/connections.js'
import type { TopologyNames } from '../topology/names.js'
import type { Feeder } from './feeder.js'
import type { Step, StepKind } from './schedule.js'
import { SoakProcess, type Death } from './soak-process.js'

export const soakGroupLimits = {
  pollMs: 10,
  /** For a process to score or the group to go on; longer than a session, a transaction's life and a slow start together. */
  readyMsMax: 60_000,
  /** Without a single committed record for so long, the group has stopped for good. */
  stallMsMax: 60_000,
  stopMsMax: 8000,
  /** SIGSTOP for so long and up to twice so long: a session is 6 s. */
  frozenMs: 6500,
  /** Processes that ended by themselves, and were not fenced by a trouble that the soak made. */
  deathsMax: 20,
  /** A process that is fenced so soon after the broker was away, or after it stood still, was fenced by that. */
  fencedByTroubleMs: 90_000,
  /** A dead process's transaction that ends within so long was being committed: who might abort it takes longer to start. */
  commitMsMax: 150,
} as const

export interface SoakGroupOptions {
  readonly name: string
  readonly connections: Connections
  readonly names: TopologyNames
  readonly partitions: number
  readonly instances: number
  /** SIGKILLs in all. */
  readonly kills: number
  readonly steps: readonly Step[]
  readonly events: number
  readonly feeder: Feeder
  /** Options of `harrier run` for each process. */
  readonly args: readonly string[]
  /** Tell where the log ends for readers of committed and of all records: between them lies what a kill left open. */
  readonly ends: { readonly committed: RangeReader; readonly all: RangeReader }
  readonly restartBroker: (() => Promise<void>) | undefined
  /** When the broker was last away, or a process last stood still. */
  readonly troubleMs: () => number
  readonly onTrouble: () => void
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

export interface GroupOutcome {
  readonly kills: number
  readonly killsByKind: Readonly<Partial<Record<StepKind, number>>>
  /** By what the process last said of itself: running, restoring, joining; or nothing yet. */
  readonly killsByState: Readonly<Record<string, number>>
  /** SIGKILLs that left a transaction open: between its first record and its commit. */
  readonly inTransaction: number
  /** Of them those whose transaction ended by itself soon after: the process died in its commit. The quickest are not seen. */
  readonly inCommit: number
  /** What really happened, by kind of step: a step that finds no process to take does nothing. */
  readonly steps: Readonly<Partial<Record<StepKind, number>>>
  /** Processes under ids of their own that came after the beginning, and processes that were stopped in order. */
  readonly added: number
  readonly removed: number
  readonly restores: number
  readonly restoredRecords: number
  readonly deaths: readonly Death[]
  /** Of them those that said FENCED after the broker was away or the process stood still: loud, and restarted by whoever supervises. */
  readonly fenced: number
  /** Why the run was given up, if it was. */
  readonly stalled: string | undefined
}

/**
 * Lives through one schedule: processes of one group on one namespace, killed, frozen, added and removed by seeded
 * choices, while records come in; then waits until every record is committed. It judges nothing but life: what came out
 * is for `verifyRun`.
 */
export class SoakGroup {
  readonly #options: SoakGroupOptions
  readonly #admin: KafkaAdmin
  readonly #alive: SoakProcess[] = []
  readonly #past: SoakProcess[] = []
  readonly #deaths: Death[] = []
  readonly #killsByKind: Partial<Record<StepKind, number>> = {}
  readonly #killsByState: Record<string, number> = {}
  readonly #steps: Partial<Record<StepKind, number>> = {}
  #kills = 0
  #inTransaction = 0
  #inCommit = 0
  #removed = 0
  #fenced = 0
  #nextId = 0
  /** How long the last process took from its start to its first task. */
  #readyMs = 2500

  constructor(options: SoakGroupOptions) {
    this.#options = options
    this.#admin = new KafkaAdmin({ brokers: options.connections.brokers, security: options.connections.security, clock: options.clock, ...connectLimits(options.connections) })
  }

  get kills(): number {
    return this.#kills
  }

  async run(): Promise<GroupOutcome> {
    const { kills, steps, events, feeder, instances, clock, signal, onProgress, name } = this.#options
    await this.#admin.start()
    let stalled: string | undefined
    try {
      for (let i = 0; i < instances; i++) this.#start(`i${this.#nextId++}`)
      for (const [index, step] of this.#stepsTo(kills)) {
        feeder.grant(Math.floor((events * (index + 1)) / (steps.length + 1)))
        await this.#anyReady()
        if (signal.aborted) break
        await clock.sleep(step.pauseMs, signal)
        await this.#take(step)
        onProgress(`${name}: step ${index + 1} of ${steps.length}, ${step.kind}; ${this.#kills} kills, ${feeder.sent} records in`)
        this.#supervise()
      }
      if (!signal.aborted) {
        await feeder.finish()
        await this.#untilCommitted()
      }
    } catch (error) {
      if (!(error instanceof HarrierError) || signal.aborted) throw error
      const told = this.#alive.map(({ instanceId, stats, ended, log }) => [`--- ${instanceId}: ${ended ? 'ended' : (stats?.state ?? 'silent')}, ${stats?.counters.restores ?? 0} restores`, ...log.slice(-15)])
      stalled = [error.message, await this.#describeGroup(), ...told.flat()].join('\n')
    } finally {
      await feeder.close().catch(() => undefined)
      await Promise.all(this.#alive.map((process) => (signal.aborted ? process.kill() : process.stop(soakGroupLimits.stopMsMax))))
      await this.#admin.close()
    }
    const lives = [...this.#past, ...this.#alive]
    return {
      kills: this.#kills,
      killsByKind: this.#killsByKind,
      killsByState: this.#killsByState,
      inTransaction: this.#inTransaction,
      inCommit: this.#inCommit,
      steps: this.#steps,
      added: this.#nextId - this.#options.instances,
      removed: this.#removed,
      restores: lives.reduce((sum, { readyTasks }) => sum + readyTasks.length, 0),
      restoredRecords: lives.reduce((sum, { restoredRecords }) => sum + restoredRecords, 0),
      deaths: this.#deaths,
      fenced: this.#fenced,
      stalled,
    }
  }

  /** The schedule; then plain kills for those that found no process to kill. */
  *#stepsTo(kills: number): Generator<[number, Step]> {
    const { steps } = this.#options
    yield* steps.entries()
    for (let extra = 0; this.#kills < kills; extra++) yield [steps.length - 1, { ...steps[extra % steps.length]!, kind: 'working' }]
  }

  async #take(step: Step): Promise<void> {
    const taken: Record<StepKind, (step: Step) => Promise<boolean>> = {
      working: (given) => this.#killWorking(given),
      restoring: (given) => this.#killRestoring(given),
      joining: (given) => this.#killJoining(given),
      takeover: (given) => this.#takeOver(given),
      all: () => this.#killAll(),
      leaving: (given) => this.#leave(given),
      frozen: (given) => this.#freeze(given),
      broker: () => this.#breakBroker(),
    }
    if (await taken[step.kind](step)) this.#steps[step.kind] = (this.#steps[step.kind] ?? 0) + 1
  }

  async #killWorking({ target, after }: Step): Promise<boolean> {
    const process = this.#ready(target)
    if (!process) return false
    await this.#kill(process, 'working')
    // The same static id at once; at once and late; another id.
    if (after < 0.7) this.#start(process.instanceId)
    else if (after < 0.85) await this.#startLater(process.instanceId, after)
    else this.#start(`i${this.#nextId++}`)
    return true
  }

  async #killRestoring({ target, moment, after }: Step): Promise<boolean> {
    const process = this.#ready(target)
    if (!process) return false
    await this.#kill(process, 'restoring')
    const next = this.#start(process.instanceId)
    // Restores are over with the last task of an assignment: between the first task and the last, or just before the first.
    if (moment < 0.5) await this.#until(() => next.readyTasks.length > 0 || next.ended, soakGroupLimits.readyMsMax)
    else await this.#untilAge(next, this.#readyMs * (0.6 + (moment - 0.5)))
    if (next.ended) {
      this.#supervise()
      return true
    }
    await this.#kill(next, 'restoring')
    this.#start(after < 0.8 ? process.instanceId : `i${this.#nextId++}`)
    return true
  }

  async #killJoining({ target, moment, after }: Step): Promise<boolean> {
    const newcomer = this.#start(`i${this.#nextId++}`)
    await this.#untilAge(newcomer, this.#readyMs * (0.5 + moment * 0.8))
    const process = after < 0.4 ? newcomer : this.#pick(target)
    if (!process || process.ended) return false
    await this.#kill(process, 'joining')
    if (process !== newcomer && after < 0.7) this.#start(process.instanceId)
    while (this.#alive.length > this.#options.instances + 1) await this.#stop(this.#alive[0]!)
    return true
  }

  async #takeOver({ target, after }: Step): Promise<boolean> {
    const process = this.#ready(target)
    if (!process) return false
    const started = this.#options.clock.monotonicMs()
    await this.#kill(process, 'takeover')
    if (this.#alive.length === 0 || after < 0.5) this.#start(`i${this.#nextId++}`)
    // The session of the dead one ends, and its partitions go to others; its transaction may still be open then.
    await this.#until(() => this.#options.clock.monotonicMs() - started > 6000 + after * 3000, soakGroupLimits.readyMsMax)
    if (this.#alive.length < this.#options.instances) this.#start(`i${this.#nextId++}`)
    return true
  }

  async #killAll(): Promise<boolean> {
    const processes = this.#alive.slice(0, this.#options.instances)
    await Promise.all(processes.map((process) => this.#kill(process, 'all')))
    for (const { instanceId } of processes) this.#start(instanceId)
    return true
  }

  async #leave({ target, after }: Step): Promise<boolean> {
    const process = this.#ready(target)
    if (!process) return false
    await this.#stop(process)
    if (after < 0.6) this.#start(process.instanceId)
    else this.#start(`i${this.#nextId++}`)
    return true
  }

  async #freeze({ target, moment }: Step): Promise<boolean> {
    const process = this.#ready(target)
    if (!process) return false
    if (this.#alive.length < 2) this.#start(`i${this.#nextId++}`)
    process.freeze()
    await this.#options.clock.sleep(soakGroupLimits.frozenMs * (1 + moment), this.#options.signal)
    process.thaw()
    this.#options.onTrouble()
    return true
  }

  async #breakBroker(): Promise<boolean> {
    await this.#options.restartBroker?.()
    this.#options.onTrouble()
    return true
  }

  #start(instanceId: string): SoakProcess {
    const process = new SoakProcess({ instanceId, args: this.#options.args, clock: this.#options.clock, onDeath: (death) => this.#onDeath(death) })
    this.#alive.push(process)
    return process
  }

  async #startLater(instanceId: string, after: number): Promise<void> {
    await this.#options.clock.sleep(after * 1000, this.#options.signal)
    this.#start(instanceId)
  }

  #onDeath(death: Death): void {
    this.#deaths.push(death)
    if (death.lastLines.some((line) => line.endsWith('[FENCED]')) && death.atMs - this.#options.troubleMs() < soakGroupLimits.fencedByTroubleMs) this.#fenced++
    this.#options.onProgress(`${this.#options.name}: ${death.instanceId} ended by itself (${death.how}): ${death.lastLines.at(-1) ?? ''}`)
  }

  /** Starts again what ended by itself, as an operator's supervisor would. */
  #supervise(): void {
    const deaths = this.#deaths.length - this.#fenced
    if (deaths > soakGroupLimits.deathsMax) {
      throw new HarrierError('LIMIT_EXCEEDED', `${deaths} processes ended by themselves; the last: ${this.#deaths.at(-1)!.lastLines.slice(-5).join('\n')}`)
    }
    for (const process of this.#alive.filter(({ ended }) => ended)) {
      this.#forget(process)
      if (this.#alive.length < this.#options.instances) this.#start(process.instanceId)
    }
    while (this.#alive.length < this.#options.instances) this.#start(`i${this.#nextId++}`)
    for (const { startedMs, firstReadyMs } of this.#alive) if (firstReadyMs !== undefined) this.#readyMs = (this.#readyMs * 3 + firstReadyMs - startedMs) / 4
  }

  async #kill(process: SoakProcess, kind: StepKind): Promise<void> {
    const { partitions, stats } = process
    const state = stats?.state ?? 'starting'
    this.#kills++
    this.#killsByKind[kind] = (this.#killsByKind[kind] ?? 0) + 1
    this.#killsByState[state] = (this.#killsByState[state] ?? 0) + 1
    await process.kill()
    this.#forget(process)
    if (!(await this.#leftOpen(partitions))) return
    this.#inTransaction++
    await this.#options.clock.sleep(soakGroupLimits.commitMsMax)
    if (!(await this.#leftOpen(partitions))) this.#inCommit++
  }

  async #stop(process: SoakProcess): Promise<void> {
    await process.stop(soakGroupLimits.stopMsMax)
    this.#removed++
    this.#forget(process)
  }

  #forget(process: SoakProcess): void {
    this.#alive.splice(this.#alive.indexOf(process), 1)
    this.#past.push(process)
  }

  /** Whether readers of committed records are held up before the end of the dead process's lineage partitions. */
  async #leftOpen(partitions: readonly number[]): Promise<boolean> {
    const { ends, names } = this.#options
    for (const partition of partitions) {
      const all = await ends.all.watermarks(names.lineage, partition)
      const committed = await ends.committed.watermarks(names.lineage, partition)
      if (committed.stableEnd < all.stableEnd) return true
    }
    return false
  }

  #ready(choice: number): SoakProcess | undefined {
    const ready = this.#alive.filter(({ isReady }) => isReady)
    return ready[Math.floor(choice * ready.length)]
  }

  /** What the broker says of a group that stands still. */
  async #describeGroup(): Promise<string> {
    const { names } = this.#options
    return this.#admin.describeGroup(names.group).catch((error: unknown) => `the group could not be described: ${messageOf(error)}`)
  }

  #pick(choice: number): SoakProcess | undefined {
    return this.#alive[Math.floor(choice * this.#alive.length)]
  }

  async #anyReady(): Promise<void> {
    await this.#until(() => {
      if (this.#alive.every(({ ended }) => ended)) this.#supervise()
      return this.#alive.some(({ isReady }) => isReady)
    }, soakGroupLimits.readyMsMax)
  }

  async #untilAge(process: SoakProcess, ageMs: number): Promise<void> {
    await this.#until(() => process.ended || this.#options.clock.monotonicMs() - process.startedMs >= ageMs, soakGroupLimits.readyMsMax)
  }

  async #until(done: () => boolean, limitMs: number): Promise<void> {
    const { clock, signal, name } = this.#options
    const endMs = clock.monotonicMs() + limitMs
    while (!done() && !signal.aborted) {
      if (clock.monotonicMs() > endMs) throw new HarrierError('BROKER_UNAVAILABLE', `${name}: nothing was ready within ${limitMs} ms`)
      await clock.sleep(soakGroupLimits.pollMs, signal)
    }
  }

  /** Every record of the input is committed by the group, as kafkajs reads it. */
  async #untilCommitted(): Promise<void> {
    const { names, clock, signal, name, events } = this.#options
    let best = -1
    let movedMs = clock.monotonicMs()
    while (!signal.aborted) {
      this.#supervise()
      // The other group may be breaking the broker meanwhile.
      const read = await Promise.all([this.#admin.committedOffsets(names.group, names.input), this.#admin.ends(names.input)]).catch((error: unknown) => error as Error)
      if (read instanceof Error) {
        if (clock.monotonicMs() - movedMs > soakGroupLimits.stallMsMax) throw read
        await clock.sleep(300, signal)
        continue
      }
      const [committed, ends] = read
      const sum = [...committed.values()].reduce<number>((total, offset) => total + (offset ?? 0), 0)
      if ([...ends].every(([partition, { high }]) => (committed.get(partition) ?? 0) === high)) return
      if (sum > best) {
        best = sum
        movedMs = clock.monotonicMs()
      } else if (clock.monotonicMs() - movedMs > soakGroupLimits.stallMsMax) {
        throw new HarrierError('BROKER_UNAVAILABLE', `${name}: no record was committed for ${soakGroupLimits.stallMsMax} ms, at ${sum} of ${events}`)
      }
      await clock.sleep(300, signal)
    }
  }
}
