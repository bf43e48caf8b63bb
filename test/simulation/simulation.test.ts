import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Simulation, type SimulationResult } from './simulation.js'

const only = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const schedules = Number(process.env.SCHEDULES ?? 100)
const releaseSchedules = Math.ceil(schedules / 4)
const earlySchedules = Math.ceil(schedules / 8)
const daySchedules = Math.ceil(schedules / 8)
/** Seeds whose schedule meets what was wrong once. */
const found: readonly (readonly [seed: number, what: string])[] = [
  [19, 'a first transaction of unknown outcome lost the records of its batch'],
  [21, 'an entity was freed that a batch ahead had revived'],
  [8, 'a batch without records was overlooked at the end of the lineage'],
  [23, 'a changelog was read before the marker of its last transaction had come'],
]

/** Where releases come is a matter of time: their scores are compared with those of an engine that follows the lineage, in the simulation itself. */
async function simulateReleases(seed: number): Promise<SimulationResult> {
  const run = await new Simulation({ seed, faults: true, releases: true }).run()
  if (only !== undefined) console.log(run.trace.join('\n'))
  assert.equal(run.problems.length, 0, `seed ${seed}: ${run.problems.length} problems\n${run.problems.slice(0, 8).join('\n')}\nrun it again: SEED=${seed} node scripts/test.js simulation`)
  return run
}

async function simulate(seed: number, topology: 'events' | 'early' | 'days' = 'events'): Promise<SimulationResult> {
  const calm = await new Simulation({ seed, topology, faults: false }).run()
  assert.deepEqual(calm.problems, [], `seed ${seed}, without faults`)
  const run = await new Simulation({ seed, topology, faults: true }).run()
  const problems = [...run.problems]
  for (const [place, content] of calm.contents) {
    if (run.contents.get(place) !== content && run.contents.has(place)) problems.push(`output of ${place} differs from the uninterrupted run's:\n  ${run.contents.get(place)}\n  ${content}`)
  }
  for (const place of calm.contents.keys()) if (!run.contents.has(place)) problems.push(`output of ${place} is missing`)
  for (const place of run.contents.keys()) if (!calm.contents.has(place)) problems.push(`output of ${place} is none of the uninterrupted run's`)
  if (only !== undefined) console.log(run.trace.join('\n'))
  assert.equal(problems.length, 0, `seed ${seed}: ${problems.length} problems\n${problems.slice(0, 8).join('\n')}\nrun it again: SEED=${seed} node scripts/test.js simulation`)
  return run
}

describe('the engine under seeded schedules of faults', () => {
  if (only !== undefined) {
    it(`seed ${only}`, async () => void (await (process.env.RELEASES === '1' ? simulateReleases(only) : simulate(only, process.env.DAYS === '1' ? 'days' : process.env.EARLY === '1' ? 'early' : 'events'))))
    return
  }

  for (const [seed, what] of found) it(`seed ${seed}: ${what}`, async () => void (await simulate(seed)))

  it(`${schedules} schedules: each input has one output, in order, with the bits of an uninterrupted run; lineage has no gap`, async (t) => {
    const totals: Record<string, number> = {}
    for (let seed = 1; seed <= schedules; seed++) {
      for (const [fault, count] of Object.entries((await simulate(seed)).faults)) totals[fault] = (totals[fault] ?? 0) + count
    }
    t.diagnostic(`faults ${JSON.stringify(totals)}`)
    for (const fault of ['crash', 'lost', 'stop', 'registry', 'aborted', 'crash-before', 'crash-after', 'unknown-committed', 'unknown-aborted', 'timed-out']) {
      assert.ok((totals[fault] ?? 0) > 0, `the schedules hold ${fault}`)
    }
  })

  it(`${releaseSchedules} schedules with releases and rollbacks: scores are those of an uninterrupted engine whose models take over where the lineage says`, async (t) => {
    const totals: Record<string, number> = {}
    for (let seed = 1001; seed <= 1000 + releaseSchedules; seed++) {
      for (const [fault, count] of Object.entries((await simulateReleases(seed)).faults)) totals[fault] = (totals[fault] ?? 0) + count
    }
    t.diagnostic(`faults ${JSON.stringify(totals)}`)
    for (const what of ['release', 'in force', 'crash', 'lost']) assert.ok((totals[what] ?? 0) > 2 * releaseSchedules, `the schedules hold ${what}`)
  })

  it(`${earlySchedules} schedules with outputs before their transaction: each input has one output or more, all of the same bits; lineage has no gap (EARLY=1 with SEED)`, async (t) => {
    const totals: Record<string, number> = {}
    for (let seed = 2001; seed <= 2000 + earlySchedules; seed++) {
      for (const [fault, count] of Object.entries((await simulate(seed, 'early')).faults)) totals[fault] = (totals[fault] ?? 0) + count
    }
    t.diagnostic(`faults ${JSON.stringify(totals)}`)
    for (const what of ['copy', 'unpublished', 'unacknowledged', 'crash-published', 'aborted', 'lost']) assert.ok((totals[what] ?? 0) > 0, `the schedules hold ${what}`)
  })

  it(`${daySchedules} schedules of days that turn: each entity and day has one score, with the bits of an uninterrupted run (DAYS=1 with SEED)`, async (t) => {
    let turned = 0
    for (let seed = 1; seed <= daySchedules; seed++) {
      for (const place of (await simulate(seed, 'days')).contents.keys()) if (place.includes('@')) turned++
    }
    t.diagnostic(`${turned} days of customers`)
    assert.ok(turned > 100 * daySchedules, `${turned} days of customers turned`)
  })

  it('the same seed gives the same run', async () => {
    const [one, two] = [await simulate(4711), await simulate(4711)]
    assert.deepEqual(two.trace, one.trace)
  })
})
