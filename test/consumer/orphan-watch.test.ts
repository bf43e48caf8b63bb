import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import type { GroupMember } from '../../src/consumer/admin.js'
import { OrphanWatch, orphanWatchLimits } from '../../src/consumer/orphan-watch.js'

type Group = readonly GroupMember[] | undefined

const group = (owned: Record<string, readonly number[]>): GroupMember[] => Object.entries(owned).map(([clientId, partitions]) => ({ memberId: `${clientId}-1`, clientId, partitions }))

/** Shows the watch of `self` one view of the group after the other; returns after which looks it joined anew. */
async function lookAt(self: string, views: readonly (Group | Error)[]): Promise<number[]> {
  const clock = new ManualClock()
  const rejoined: number[] = []
  let look = 0
  const members = (): Promise<Group> => {
    const view = views[look++]
    return view instanceof Error ? Promise.reject(view) : Promise.resolve(view)
  }
  const watch = new OrphanWatch({ topic: 'input', partitions: 4, self, members, rejoin: () => rejoined.push(look), clock, logger: silentLogger })
  watch.start()
  for (const _ of views) {
    clock.advance(orphanWatchLimits.lookMs)
    await new Promise(setImmediate)
  }
  watch.stop()
  clock.advance(orphanWatchLimits.lookMs * 5)
  assert.equal(look, views.length)
  return rejoined
}

describe('the watch over partitions that no member owns', () => {
  const torn = group({ a: [0, 1, 3], b: [] })
  const times = <T>(count: number, view: T): T[] => Array<T>(count).fill(view)

  for (const [what, self, views, joined] of [
    ['the member with the fewest partitions joins anew at the third look, and after three more again', 'b', times(6, torn), [3, 6]],
    ['the next waits one look longer', 'a', times(4, torn), [4]],
    ['of two with as many the one whose member id comes first is first', 'a', times(3, group({ b: [1], a: [0] })), [3]],
    ['and the other second', 'b', times(4, group({ b: [1], a: [0] })), [4]],
    ['who is no member does nothing', 'c', times(8, torn), []],
    ['while every partition has an owner nothing is done', 'b', times(8, group({ a: [0, 1], b: [2, 3] })), []],
    ['what changes is going on: its looks are counted anew', 'b', [torn, torn, group({ a: [0, 1], b: [] }), torn, torn, torn], [6]],
    ['a member that came back under another member id is a change', 'b', [torn, torn, torn.map((member) => ({ ...member, memberId: `${member.memberId}x` })), torn, torn], []],
    ['a group that is not settled is a change', 'b', [torn, torn, undefined, torn, torn, torn], [6]],
    ['a look that fails is none', 'b', [torn, new Error('away'), torn, torn], [4]],
  ] as const) {
    it(what, async () => assert.deepEqual(await lookAt(self, views), joined))
  }

  it('does nothing after it was stopped, not even by a look that was under way', async () => {
    const clock = new ManualClock()
    let rejoined = 0
    let look = 0
    let answer = (_: Group): void => undefined
    const members = (): Promise<Group> => (++look < orphanWatchLimits.looksMin ? Promise.resolve(torn) : new Promise((resolve) => (answer = resolve)))
    const watch = new OrphanWatch({ topic: 'input', partitions: 4, self: 'b', members, rejoin: () => void rejoined++, clock, logger: silentLogger })
    watch.start()
    while (look < orphanWatchLimits.looksMin) {
      clock.advance(orphanWatchLimits.lookMs)
      await new Promise(setImmediate)
    }
    watch.stop()
    answer(torn)
    await new Promise(setImmediate)
    assert.equal(rejoined, 0)
  })
})
