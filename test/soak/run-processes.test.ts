import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { mergeStats } from '../../src/cli/merge-stats.js'
import { childArguments, runProcesses, type RunProcessesOptions } from '../../src/cli/run-processes.js'
import { LatencyHistogram } from '../../src/base/latency-histogram.js'
import type { EngineStats } from '../../src/topology/engine-stats.js'

function statsOf(scored: number, delaysMs: readonly number[] = []): EngineStats {
  const delays = new LatencyHistogram()
  for (const delayMs of delaysMs) delays.add(delayMs)
  const counters = { records: scored, scored, alerts: 1, deadLetters: 2, late: 0, fallbacks: 0, batches: 1, aborts: 0, restoredRecords: 0 }
  return {
    state: 'running',
    counters: counters as EngineStats['counters'],
    delayMs: { p50: 0, p99: 0, p999: 0, count: delaysMs.length },
    delayHistogram: delays.toJSON(),
    commitMs: { p50: scored, p99: 2 * scored },
    lag: 10,
    checkpoint: { records: 3, bytes: 100, dirty: 5 } as EngineStats['checkpoint'],
    entities: 7,
    standby: { partitions: 1, entities: 2 },
    stateBytes: 1000,
    release: { inForce: 3, refused: null, breach: null },
    models: [{ model: 'card-gru@1', role: 'champion', share: 1, device: 'cpu', deviceNote: null, fileBytes: 75_136, openedBytes: 4_000_000 }],
    tasks: [{ task: `t/s/${scored}`, sequence: 1, position: 2, streamTimeMs: 3, tailRecords: 0 }],
  } as EngineStats
}

describe('statistics of several processes', () => {
  it('are sums, with delays merged exactly', () => {
    const histogram = (delaysMs: readonly number[]): LatencyHistogram => LatencyHistogram.fromJSON(statsOf(0, delaysMs).delayHistogram)
    const merged = mergeStats([
      { latest: statsOf(100), past: [], delays: histogram(Array.from({ length: 99 }, () => 10)) },
      { latest: statsOf(50), past: [], delays: histogram(Array.from({ length: 99 }, () => 1000)) },
    ])
    assert.equal(merged.counters.scored, 150)
    assert.equal(merged.counters.deadLetters, 4)
    assert.equal(merged.lag, 20)
    assert.equal(merged.entities, 14)
    assert.equal(merged.delayMs.count, 198)
    assert.ok(Math.abs(merged.delayMs.p50 - 10) < 0.5, `p50 ${merged.delayMs.p50}`)
    assert.ok(Math.abs(merged.delayMs.p99 - 1000) < 50, `p99 ${merged.delayMs.p99}`)
    assert.equal(merged.commitMs.p99, 200)
    assert.deepEqual(merged.tasks.map(({ task }) => task), ['t/s/100', 't/s/50'])
    assert.equal(merged.models.length, 1)
    assert.equal(merged.deviceFallbacks, 0)
    const [model] = merged.models
    const fallen = { latest: { ...statsOf(1), models: [{ ...model!, deviceNote: 'no GPU can run it: cuda: no driver' }] }, past: [], delays: new LatencyHistogram() }
    assert.equal(mergeStats([fallen, fallen]).deviceFallbacks, 2)
  })

  it('keep what earlier lives did, but not what they held', () => {
    const before = statsOf(1000)
    const merged = mergeStats([{ latest: statsOf(10), past: [before], delays: new LatencyHistogram() }])
    assert.equal(merged.counters.scored, 1010)
    assert.equal(merged.checkpoint.bytes, 200)
    assert.equal(merged.checkpoint.dirty, 5)
    assert.equal(merged.lag, 10)
  })

  it('say joining until each process has spoken, and then the worst state', () => {
    const silent = { latest: undefined, past: [], delays: new LatencyHistogram() }
    const running = { ...silent, latest: statsOf(1) }
    assert.equal(mergeStats([running, silent]).state, 'joining')
    assert.equal(mergeStats([silent, silent]).counters.scored, 0)
    assert.equal(mergeStats([silent, silent]).checkpoint.bytes, 0)
    assert.equal(mergeStats([running, running]).state, 'running')
    assert.equal(mergeStats([running, { ...silent, latest: { ...statsOf(1), state: 'restoring' } }]).state, 'restoring')
  })
})

describe('harrier run --processes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-processes-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** A stand-in for `harrier run`: says a line of statistics now and then, as `behaviour` tells. */
  function program(name: string, behaviour: string): string {
    const file = join(folder, `${name}.mjs`)
    writeFileSync(
      file,
      `import { appendFileSync } from 'node:fs'
      const id = process.argv[process.argv.indexOf('--instance-id') + 1]
      appendFileSync(${JSON.stringify(join(folder, name))}, id + '\\n')
      const stats = ${JSON.stringify(statsOf(5, [1]))}
      const timer = setInterval(() => console.log(JSON.stringify(stats)), 50)
      process.on('SIGTERM', () => { clearInterval(timer); console.log(JSON.stringify({ ...stats, state: 'stopped' })) })
      console.log(JSON.stringify(stats))
      console.error(JSON.stringify({ level: 'info', message: 'hello' }))
      ${behaviour}`,
    )
    return file
  }

  const startsOf = (name: string): string[] => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8').trim().split('\n').sort() : [])

  function start(name: string, behaviour: string, options: Partial<RunProcessesOptions> = {}) {
    const stopping = new AbortController()
    const stats: EngineStats[] = []
    const log: string[] = []
    const done = runProcesses({
      processes: 2,
      args: [],
      instanceId: 'host',
      clock: systemClock,
      signal: stopping.signal,
      onStats: (merged) => stats.push(merged),
      onLog: (line) => log.push(line),
      limits: { statsIntervalMs: 50, backoffMsMin: 10, backoffMsMax: 40, deathsInARowMax: 3 },
      program: program(name, behaviour),
      ...options,
    })
    return { stopping, stats, log, done }
  }

  async function until(done: () => boolean): Promise<void> {
    for (let i = 0; i < 1500 && !done(); i++) await systemClock.sleep(10)
    assert.ok(done(), 'it came about within 15 s')
  }

  it('gives each process an identity of its own, merges what they tell, and stops them in order', async () => {
    const run = start('steady', '')
    await until(() => run.stats.some(({ counters }) => counters.scored === 10))
    run.stopping.abort()
    await run.done
    assert.deepEqual(startsOf('steady'), ['host-0', 'host-1'])
    assert.equal(run.stats.at(-1)!.state, 'stopped')
    assert.ok(run.log.some((line) => line.includes('"instance":"host-1"') && line.includes('hello')))
  })

  it('starts a process again that died, as itself, and keeps its counts', async () => {
    const run = start('mortal', `if (id === 'host-1') setTimeout(() => process.exit(1), 100)`, { limits: { statsIntervalMs: 20, backoffMsMin: 10, backoffMsMax: 20, deathsInARowMax: 100 } })
    await until(() => startsOf('mortal').filter((id) => id === 'host-1').length >= 3)
    await until(() => run.stats.some(({ counters }) => counters.scored >= 20))
    run.stopping.abort()
    await run.done.catch((error: unknown) => assert.match(String(error), /did not stop in order/, 'it may die while it is stopped'))
    assert.ok(run.log.some((line) => line.includes('started again')))
  })

  it('gives up loudly when a process cannot be kept alive, and stops the others', async () => {
    const run = start('hopeless', `if (id === 'host-1') process.exit(1)`)
    await assert.rejects(run.done, (error: unknown) => error instanceof HarrierError && error.code === 'LIMIT_EXCEEDED' && /host-1 ended 3 times in a row/.test(error.message))
    assert.deepEqual(startsOf('hopeless'), ['host-0', 'host-1', 'host-1', 'host-1'])
  })

  it('does not start again what ended for a wrong option', async () => {
    const run = start('wrong', 'if (id === "host-0") process.exit(2)')
    await assert.rejects(run.done, /host-0 ended 1 times in a row/)
  })

  it('hands on the options of the command line, but for its own', () => {
    assert.deepEqual(childArguments(['--processes', '4', '--namespace', 'x', '--json', '--instance-id=a', '--workers', '2']), ['--namespace', 'x', '--workers', '2'])
  })
})
