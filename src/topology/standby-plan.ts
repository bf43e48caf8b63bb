import type { GroupMember } from '../consumer/admin.js'

/**
 * Partitions that `self` would be given if one other member died: the cooperative sticky assignor hands each orphan, in
 * their order, to the member that has fewest partitions, ties by member id. A guess that fails costs a cold restore.
 * Undefined as long as the group has not taken this process up.
 */
export function partitionsToStandBy(members: readonly GroupMember[], self: string): number[] | undefined {
  // The group does not know this process yet: what it has warmed is about to come to it.
  if (!members.some(({ clientId }) => clientId === self)) return undefined
  const wanted: number[] = []
  for (const dead of members) {
    if (dead.clientId === self) continue
    const living = members
      .filter((member) => member !== dead)
      .map(({ memberId, clientId, partitions }) => ({ memberId, clientId, load: partitions.length }))
    if (living.length === 0) continue
    for (const orphan of [...dead.partitions].sort((a, b) => a - b)) {
      const heir = living.reduce((least, member) => (member.load < least.load || (member.load === least.load && member.memberId < least.memberId) ? member : least))
      heir.load++
      if (heir.clientId === self) wanted.push(orphan)
    }
  }
  return wanted
}
