import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { WorkerRule, workerRuleLimits, type WorkerLoad } from '../../src/inference/worker-rule.js'

const { intervalMs, busyIntervals, trialIntervals, warmUpIntervals, idleIntervals, retryMs } = workerRuleLimits
const trial = warmUpIntervals + trialIntervals

describe('how many workers run the models', () => {
  /** An interval in which `workers` were busy for a share of the time. */
  const load = (workers: number, share: number, rows = 1000): WorkerLoad => ({ ms: intervalMs, rows, computeMs: workers * share * intervalMs, idleCores: 0.5 })

  function run(rule: WorkerRule, from: number, loads: readonly ((workers: number) => WorkerLoad)[], startMs = 0): number[] {
    let workers = from
    return loads.map((of, index) => (workers = rule.next(workers, of(workers), startMs + index * intervalMs)))
  }
  const times = <T>(count: number, what: T): T[] => Array<T>(count).fill(what)

  it('one more when those that are there have no time left, and it stays unless fewer rows come through', () => {
    const rule = new WorkerRule(1, 4)
    const counts = run(rule, 1, [...times(busyIntervals, (w: number) => load(w, 0.95, 1000)), ...times(trial, (w: number) => load(w, 0.7, 1500))])
    assert.deepEqual(counts, [1, ...times(1 + trial, 2)])
    assert.deepEqual(run(rule, 2, times(busyIntervals + trial, (w: number) => load(w, 0.95, 1500))), [2, ...times(1 + trial, 3)], 'the next one is on trial before another comes')
  })

  it('one that made nothing faster goes again, and is not tried soon', () => {
    const rule = new WorkerRule(1, 4)
    const counts = run(rule, 1, [...times(busyIntervals, (w: number) => load(w, 0.95, 1000)), ...times(trial, (w: number) => load(w, 0.9, 940)), ...times(20, (w: number) => load(w, 0.95, 1000))])
    assert.deepEqual(counts, [1, ...times(trial, 2), ...times(21, 1)])
    assert.equal(run(rule, 1, times(busyIntervals, (w: number) => load(w, 0.95)), 40 * intervalMs + retryMs).at(-1), 2)
  })

  it('one goes when the others would have time enough, but never below the least', () => {
    const rule = new WorkerRule(2, 4)
    assert.deepEqual(run(rule, 3, times(idleIntervals, (w: number) => load(w, 0.3))), [...times(idleIntervals - 1, 3), 2])
    assert.deepEqual(run(rule, 2, times(idleIntervals * 2, (w: number) => load(w, 0))), times(idleIntervals * 2, 2))
  })

  it('neither the most nor a busy second alone brings one more', () => {
    assert.deepEqual(run(new WorkerRule(1, 2), 2, times(10, (w: number) => load(w, 1))), times(10, 2))
    const alternating = Array.from({ length: 10 }, (_, index) => (w: number) => load(w, index % 2 === 0 ? 1 : 0.5))
    assert.deepEqual(run(new WorkerRule(1, 2), 1, alternating), times(10, 1))
  })

  it('a trial whose worker a release has taken away leaves the least there', () => {
    const rule = new WorkerRule(1, 2)
    run(rule, 1, times(busyIntervals, (w: number) => load(w, 1, 1000)))
    const alone = Array.from({ length: trial }, (_, index) => rule.next(1, load(1, 1, 500), index * intervalMs))
    assert.deepEqual(alone, times(trial, 1))
  })

  it('none comes while the cores are full', () => {
    const full = (workers: number): WorkerLoad => ({ ...load(workers, 1), idleCores: 0.1 })
    assert.deepEqual(run(new WorkerRule(1, 4), 1, times(10, full)), times(10, 1))
  })

  it('after an opening that failed it waits', () => {
    const rule = new WorkerRule(1, 2)
    run(rule, 1, times(busyIntervals, (w: number) => load(w, 1)))
    rule.abandoned(2 * intervalMs)
    assert.deepEqual(run(rule, 1, times(5, (w: number) => load(w, 1)), 2 * intervalMs), times(5, 1))
  })
})
