import type { Clock } from '../../src/base/clock.js'
import type { Prng } from '../../src/base/prng.js'

/** A process as the group coordinator sees it. */
export interface GroupMember {
  readonly instanceId: string
  /** False for a process that has crashed. */
  isAlive(): boolean
  assign(partitions: readonly number[]): void
  /** Fulfilled when the member gives them back. Never, for a process that crashes meanwhile. */
  revoke(partitions: readonly number[]): Promise<void>
  /** The session has ended without the member: it will notice. */
  lose(partitions: readonly number[]): void
}

interface Membership {
  member: GroupMember
  generation: number
  readonly owned: Set<number>
}

const reconcileMs = 20

/** Assigns the partitions of one topic to static members, cooperatively: what is to move is given back first. */
export class MemoryGroup {
  readonly #members = new Map<string, Membership>()
  readonly #partitions: number
  readonly #clock: Clock
  readonly #prng: Prng
  #generation = 0
  #reconciling = false
  #again = false

  constructor(partitions: number, clock: Clock, prng: Prng) {
    this.#partitions = partitions
    this.#clock = clock
    this.#prng = prng
  }

  /** A static member that comes back within its session gets its partitions at once. */
  join(member: GroupMember): number {
    const known = this.#members.get(member.instanceId)
    const generation = ++this.#generation
    if (known) {
      known.member = member
      known.generation = generation
      if (known.owned.size > 0) member.assign([...known.owned])
    } else this.#members.set(member.instanceId, { member, generation, owned: new Set() })
    this.#change()
    return generation
  }

  /** Whether a transaction of this member may commit offsets. */
  isCurrent(instanceId: string, generation: number): boolean {
    return this.#members.get(instanceId)?.generation === generation
  }

  /** The session time-out of a member that is dead or stands still: its partitions go to others. */
  expire(instanceId: string, only?: GroupMember): void {
    const membership = this.#members.get(instanceId)
    if (!membership || (only && membership.member !== only)) return
    this.#members.delete(instanceId)
    if (membership.member.isAlive()) membership.member.lose([...membership.owned])
    this.#change()
  }

  #change(): void {
    this.#again = true
    if (!this.#reconciling) void this.#reconcile()
  }

  async #reconcile(): Promise<void> {
    this.#reconciling = true
    while (this.#again) {
      this.#again = false
      await this.#clock.sleep(this.#prng.below(reconcileMs))
      const members = [...this.#members.values()]
      if (members.length === 0) break
      const most = Math.ceil(this.#partitions / members.length)
      const least = Math.floor(this.#partitions / members.length)
      const needy = members.some(({ owned }) => owned.size < least)
      for (const membership of members) {
        const extra = membership.owned.size - (needy ? Math.max(least, 1) : most)
        if (extra > 0) await this.#takeBack(membership, [...membership.owned].slice(-extra))
      }
      const held = new Set([...this.#members.values()].flatMap(({ owned }) => [...owned]))
      for (let partition = 0; partition < this.#partitions; partition++) {
        if (held.has(partition)) continue
        const target = [...this.#members.values()].sort((a, b) => a.owned.size - b.owned.size)[0]
        if (!target) break
        target.owned.add(partition)
        target.member.assign([partition])
      }
    }
    this.#reconciling = false
  }

  async #takeBack(membership: Membership, partitions: readonly number[]): Promise<void> {
    const { member } = membership
    const instanceId = member.instanceId
    let given = false
    void member.revoke(partitions).then(() => {
      given = true
    })
    // A member that dies in its callback is waited for until its session ends or it comes back.
    while (!given && this.#members.get(instanceId)?.member === member) await this.#clock.sleep(5)
    if (this.#members.get(instanceId) === membership && membership.member === member) for (const partition of partitions) membership.owned.delete(partition)
    this.#again = true
  }
}
