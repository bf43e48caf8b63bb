import type { Clock } from '../../src/base/clock.js'
import { HarrierError, messageOf } from '../../src/base/errors.js'
import { Prng } from '../../src/base/prng.js'
import type { Engine } from '../../src/topology/engine.js'
import type { EngineStats } from '../../src/topology/engine-stats.js'
import type { SimulatedConsumer, ProcessWorld } from './simulated-kafka.js'
import type { Simulation } from './simulation.js'

/** One incarnation of an instance. */
export class SimulatedProcess {
  readonly instanceId: string
  readonly consumer: SimulatedConsumer
  readonly #simulation: Simulation
  readonly #engine: Engine
  #state: 'running' | 'crashed' | 'ended' = 'running'

  constructor(simulation: Simulation, instanceId: string, seed: number) {
    this.instanceId = instanceId
    this.#simulation = simulation
    const prng = new Prng(seed)
    const { clock } = simulation
    const isCrashed = (): boolean => this.#state === 'crashed'
    // A crashed process never wakes.
    const own: Clock = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      sleep: (durationMs, signal) => new Promise((resolve) => void clock.sleep(durationMs, signal).then(() => isCrashed() || resolve())),
      every: (intervalMs, tick) => clock.every(intervalMs, () => isCrashed() || tick()),
    }
    const world: ProcessWorld = {
      broker: simulation.broker,
      group: simulation.group,
      clock: own,
      prng,
      instanceId,
      isCrashed,
      crash: () => this.crash('crash at a commit'),
      nextCommitFault: () => simulation.nextCommitFault(prng),
      nextPublishFault: () => simulation.nextPublishFault(prng),
    }
    const made = simulation.makeEngine(world)
    this.#engine = made.engine
    this.consumer = made.consumer
    this.#engine.run().then(
      () => this.#end('stopped'),
      (error: unknown) => {
        this.#simulation.count('gave up')
        // An engine may give up for what the world does, never for a bug of its own.
        const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
        const expected = error instanceof HarrierError && (error.cause === undefined || error.cause instanceof HarrierError)
        if (!expected) this.#simulation.problem(`${instanceId} failed: ${cause instanceof Error ? cause.stack : messageOf(error)}`)
        this.#end(`gave up: ${messageOf(error)}`)
      },
    )
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  positions(): EngineStats['tasks'] {
    return this.#engine.stats().tasks
  }

  describe(): string {
    return `${this.instanceId} ${this.#state} ${JSON.stringify(this.positions().map(({ task, position }) => `${task}:${position}`))} ${this.#engine.stats().state}`
  }

  crash(why: string): void {
    if (this.#state !== 'running') return
    this.#simulation.count('crash')
    this.#state = 'crashed'
    this.#simulation.onGone(this, why)
  }

  async stop(): Promise<void> {
    await this.#engine.stop()
  }

  #end(why: string): void {
    if (this.#state !== 'running') return
    this.#state = 'ended'
    this.#simulation.onGone(this, why)
  }
}
