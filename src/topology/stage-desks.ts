import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { Turns } from '../base/turns.js'
import type { ClusterConnection } from '../connection/security.js'
import type { Topology } from './load-topology.js'
import type { Models } from './open-scorer.js'
import { ReleaseDesk } from './release-desk.js'

export const stageDeskLimits = {
  /** Calls that wait for one stage, the one at work included. */
  callsMax: 32,
} as const

export interface StageDesksOptions {
  readonly connection: ClusterConnection
  readonly topology: Topology
  readonly namespace?: string | undefined
  readonly models?: Models
  readonly clock: Clock
  readonly logger: Logger
}

interface OpenDesk {
  readonly desk: Promise<ReleaseDesk>
  readonly turns: Turns
}

/** The release desks of a topology's stages, for a process that lives long: opened when they are first asked for, used one call at a time. */
export class StageDesks {
  readonly #options: StageDesksOptions
  readonly #open = new Map<string, OpenDesk>()

  constructor(options: StageDesksOptions) {
    this.#options = options
  }

  get topology(): Topology {
    return this.#options.topology
  }

  get connection(): ClusterConnection {
    return this.#options.connection
  }

  get namespace(): string | undefined {
    return this.#options.namespace
  }

  /** Stages that have models, first to last. */
  stages(): readonly Topology[] {
    return this.topology.chain.filter(({ stage }) => stage.models.champion !== undefined)
  }

  /** Errors: NOT_FOUND. */
  stage(name: string): Topology {
    const found = this.stages().find(({ stageName }) => stageName === name)
    if (found) return found
    throw new HarrierError('NOT_FOUND', `topology ${this.topology.name} has no stage "${name.slice(0, 100)}" with models`, { remedy: `its stages with models: ${this.stages().map(({ stageName }) => stageName).join(', ')}` })
  }

  /** Errors: NOT_FOUND, OVERLOADED, those of a connection and of the work. */
  async at<T>(stage: string, work: (desk: ReleaseDesk, view: Topology) => Promise<T>): Promise<T> {
    const view = this.stage(stage)
    const { desk, turns } = this.#deskOf(view)
    return await turns.take(async () => await work(await desk, view))
  }

  #deskOf(view: Topology): OpenDesk {
    const { stageName } = view
    const known = this.#open.get(stageName)
    if (known) return known
    const { connection, namespace, models, clock, logger } = this.#options
    const refuse = (waiting: number): HarrierError => new HarrierError('OVERLOADED', `${waiting} calls wait for the releases of ${view.name}/${stageName}`, { retryAfterMs: 1000 })
    const opened: OpenDesk = { desk: ReleaseDesk.open({ topology: view, ...connection, namespace, models, clock, logger }), turns: new Turns({ max: stageDeskLimits.callsMax, refuse }) }
    this.#open.set(stageName, opened)
    // What could not be opened is tried again by the next call.
    opened.desk.catch(() => this.#open.delete(stageName))
    return opened
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(async ({ desk, turns }) => {
      await turns.ended()
      await (await desk.catch(() => undefined))?.close()
    }))
  }
}
