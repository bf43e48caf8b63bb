import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { GroupMember } from './admin.js'

export const orphanWatchLimits = {
  /** From one look at the group to the next. */
  lookMs: 3000,
  /** Looks that must find the same members with the same partitions: a revocation in order is over by then. */
  looksMin: 3,
} as const

export interface OrphanWatchOptions {
  readonly topic: string
  readonly partitions: number
  /** Client id of this member. */
  readonly self: string
  /** Who owns what; undefined while the group is not settled. */
  members(): Promise<readonly GroupMember[] | undefined>
  /** Makes the group share out its partitions anew. */
  rejoin(): void
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Finds partitions that nobody owns although the group is settled, and ends that.
 *
 * A cooperative rebalance takes two rounds: who is to give a partition up does so and joins again, and only then another is given it.
 * If that member dies between the two and comes back under its static id within the session, the broker takes it for a restart in a
 * settled group, hands it what was left to it, and calls nobody together: the partition would lie idle until the next member comes or
 * goes. So one member leaves and joins again. It is the one with the fewest partitions; the others are each one look behind it.
 */
export class OrphanWatch {
  readonly #options: OrphanWatchOptions
  #seen = ''
  #looks = 0
  #looking = false
  #stopped = false
  #stopTicking: () => void = () => undefined

  constructor(options: OrphanWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#stopTicking = this.#options.clock.every(orphanWatchLimits.lookMs, () => void this.#look())
  }

  /** A look under way has no effect any more. */
  stop(): void {
    this.#stopped = true
    this.#stopTicking()
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const members = await this.#options.members()
      if (!this.#stopped) this.#judge(members)
    } catch (error) {
      this.#options.logger.log('debug', 'the members of the group could not be looked at', { cause: messageOf(error) })
    } finally {
      this.#looking = false
    }
  }

  #judge(members: readonly GroupMember[] | undefined): void {
    const { partitions, self, topic, rejoin, logger } = this.#options
    const orphans = members && orphansOf(members, partitions)
    const seen = JSON.stringify(members)
    this.#looks = orphans?.length && seen === this.#seen ? this.#looks + 1 : 1
    this.#seen = seen
    if (!members || !orphans?.length) return
    const rank = rankOf(members, self)
    if (rank < 0 || this.#looks < orphanWatchLimits.looksMin + rank) return
    logger.log('warn', 'partitions that no member owns; joining the group anew, so that they are shared out', { topic, partitions: orphans })
    this.#looks = 0
    rejoin()
  }
}

function orphansOf(members: readonly GroupMember[], partitions: number): number[] {
  const owned = new Set(members.flatMap((member) => member.partitions))
  return Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => !owned.has(partition))
}

/** 0: the member that loses least by joining anew; -1: not a member. */
function rankOf(members: readonly GroupMember[], self: string): number {
  return [...members].sort((a, b) => a.partitions.length - b.partitions.length || (a.memberId < b.memberId ? -1 : 1)).findIndex(({ clientId }) => clientId === self)
}
