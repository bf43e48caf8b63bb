import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock as clock } from '../../src/base/clock.js'
import { silentLogger as logger } from '../../src/base/logger.js'
import { Prng, uniqueSuffix } from '../../src/base/prng.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { KafkaAdmin } from '../../src/consumer/admin.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { CopierOptions } from './kafka-copier.js'
import type { CopyPoint } from './kafka-copy-loop.js'
import { checkIntegrity, readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.HARRIER_SEED ?? 20_261)
const kills = Number(process.env.HARRIER_KILLS ?? 20)
const partitions = 4
const points: readonly CopyPoint[] = ['polled', 'begun', 'sent', 'offsets', 'committing', 'committed']
const copierFile = fileURLToPath(new URL('kafka-copier.js', import.meta.url))

interface Copier {
  readonly process: ChildProcess
  /** ms from the start of the process until its partitions give records; undefined if it died before. */
  readonly resumedMs: Promise<number | undefined>
  readonly ended: Promise<NodeJS.Signals | number | null>
  readonly errors: string[]
}

function startCopier(options: CopierOptions): Copier {
  const startMs = clock.monotonicMs()
  const child = spawn(process.execPath, [copierFile, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] })
  const errors: string[] = []
  child.stderr.on('data', (data: Buffer) => errors.push(String(data)))
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)))
  const resumed = new Promise<number>((resolve) => child.stdout.on('data', () => resolve(clock.monotonicMs() - startMs)))
  return { process: child, ended, errors, resumedMs: Promise.race([resumed, ended.then(() => undefined)]) }
}

describe('exactly-once copy', { timeout: 600_000 }, () => {
  let stack: TestStack
  let admin: KafkaAdmin
  const closers: (() => Promise<void>)[] = []
  const alive = new Set<Copier>()

  before(async () => {
    stack = await startTestStack({ registry: false })
    admin = new KafkaAdmin({ brokers: stack.brokers, clock })
    await admin.start()
  })

  after(async () => {
    for (const copier of alive) copier.process.kill('SIGKILL')
    for (const close of closers) await close()
    await admin.close()
    await stack.stop()
  })

  async function makeTopics(): Promise<{ input: string; output: string; groupId: string }> {
    const suffix = uniqueSuffix()
    const topics = { input: `in-${suffix}`, output: `out-${suffix}`, groupId: `g-${suffix}` }
    await admin.ensureTopics([topics.input, topics.output].map((topic) => ({ topic, partitions })), { create: true })
    return topics
  }

  /**
   * Writes 0, 1, 2, ... over the partitions in turn, a transaction at a time, until `isDone`; each tenth transaction is
   * aborted and written again: its offsets are holes that no reader may wait for. Returns how many there are.
   */
  async function feed(input: string, isDone: (written: number) => boolean, pauseMs = 0): Promise<number> {
    const producer = new RdkafkaTransactionalProducer({ brokers: stack.brokers, transactionalId: `feed-${uniqueSuffix()}`, clock, logger })
    await producer.init()
    closers.push(() => producer.close())
    const columns = new RecordColumns(200)
    let written = 0
    for (let transaction = 0; !isDone(written); transaction++) {
      columns.reset()
      while (columns.count < columns.recordsMax) columns.append(0, written % partitions, 0, clock.nowMs(), null, Buffer.from(String(written++)))
      await producer.begin()
      await producer.send(columns, [input])
      if (transaction % 10 === 9) {
        await producer.abort()
        await producer.begin()
        await producer.send(columns, [input])
      }
      await producer.commit()
      if (pauseMs > 0) await clock.sleep(pauseMs)
    }
    return written
  }

  function copier(topics: { input: string; output: string; groupId: string }, instanceId: string, more: Partial<CopierOptions> = {}): Copier {
    const made = startCopier({ brokers: stack.brokers, ...topics, instanceId, batchRecordsMax: 200, pauseMs: 5, ...more })
    alive.add(made)
    void made.ended.then(() => alive.delete(made))
    return made
  }

  /**
   * Stops all copiers when every committed offset is at the end of committed records, as another client tells. One that
   * ends before is `again`'s business: by itself none may.
   */
  async function finish(topics: { input: string; groupId: string }, again?: (ended: Copier) => void): Promise<void> {
    const ends = await admin.ends(topics.input)
    const endMs = clock.monotonicMs() + 120_000
    const watched = new Set<Copier>()
    const died: Copier[] = []
    for (;;) {
      for (const one of alive) {
        if (!watched.has(one)) void one.ended.then(() => died.push(one))
        watched.add(one)
      }
      for (const one of died.splice(0)) {
        assert.ok(again, `a copier ended: ${one.errors.join('')}`)
        again(one)
      }
      const committed = await admin.committedOffsets(topics.groupId, topics.input)
      // Offsets end before the last transaction marker.
      if ([...ends].every(([partition, { high }]) => (committed.get(partition) ?? 0) >= high - 1)) break
      assert.ok(clock.monotonicMs() < endMs, `all is copied in time; committed ${JSON.stringify([...committed])} of ${JSON.stringify([...ends])}; ${[...alive].map(({ errors }) => errors.join('')).join('\n')}`)
      await clock.sleep(200)
    }
    const left = [...alive]
    for (const { process } of left) process.kill('SIGTERM')
    // SIGTERM itself ends one that had not come so far as to handle it.
    for (const { ended, errors } of left) assert.ok([0, 'SIGTERM'].includes((await ended) as number), errors.join(''))
  }

  async function waitForCommit({ input, groupId }: { input: string; groupId: string }): Promise<void> {
    const endMs = clock.monotonicMs() + 30_000
    while (![...(await admin.committedOffsets(groupId, input)).values()].some((offset) => (offset ?? 0) > 0)) {
      assert.ok(clock.monotonicMs() < endMs, 'a first transaction commits')
      await clock.sleep(50)
    }
  }

  async function expectExactlyOnce(output: string, records: number): Promise<void> {
    const read = await readCommitted(stack.brokers, output)
    const wanted = Array.from({ length: records }, (_, i) => String(i))
    const integrity = checkIntegrity(read, wanted, ({ value }) => String(value), ({ value }) => Number(value))
    const where = (ids: readonly string[]): string[] =>
      ids.slice(0, 10).map((id) => `${id} at ${read.flat().filter(({ value }) => String(value) === id).map(({ partition, offset }) => `${partition}/${offset}`).join(' and ')}`)
    assert.deepEqual({ missing: where(integrity.missing), doubled: where(integrity.doubled), outOfOrder: integrity.outOfOrder }, { missing: [], doubled: [], outOfOrder: 0 })
  }

  it(`loses and doubles nothing through ${kills} SIGKILLs at seeded points of the batch (seed ${seed})`, async (context) => {
    const topics = await makeTopics()
    let killing = true
    const fed = feed(topics.input, () => !killing, 100)
    const random = new Prng(seed)
    const restarts: number[] = []
    const instances = ['a', 'b']
    const running = new Map(instances.map((id) => [id, copier(topics, id)]))
    for (const one of running.values()) await one.resumedMs
    for (let kill = 0; kill < kills; kill++) {
      const id = instances[random.below(2)]!
      const old = running.get(id)!
      if (kill % 2 === 0) {
        // From outside, at any time: in poll, in a rebalance, in a commit.
        await clock.sleep(random.below(300))
        old.process.kill('SIGKILL')
        await old.ended
        running.set(id, copier(topics, id, { dieAt: { batch: random.below(10), point: points[random.below(points.length)]! } }))
      } else {
        // By its own hand, at a named point.
        assert.equal(await Promise.race([old.ended, clock.sleep(10_000).then(() => 'lives')]).then((end) => (end === 'lives' ? (old.process.kill('SIGKILL'), old.ended) : end)), 'SIGKILL', old.errors.join(''))
        running.set(id, copier(topics, id))
      }
      if (kill % 3 === 0) {
        const tookMs = await running.get(id)!.resumedMs
        if (tookMs !== undefined) restarts.push(Math.round(tookMs))
      }
    }
    killing = false
    const records = await fed
    await finish(topics)
    await expectExactlyOnce(topics.output, records)
    context.diagnostic(`${records} records; from start of the process to its first records, ms: ${restarts.join(' ')}`)
  })

  it('loses and doubles nothing while members come and go', async () => {
    const topics = await makeTopics()
    const records = await feed(topics.input, (written) => written >= 30_000)
    const first = copier(topics, 'a')
    await first.resumedMs
    const second = copier(topics, 'b')
    const third = copier(topics, 'c')
    await second.resumedMs
    await third.resumedMs
    second.process.kill('SIGTERM')
    assert.equal(await second.ended, 0, second.errors.join(''))
    const again = copier(topics, 'b')
    await again.resumedMs
    first.process.kill('SIGKILL')
    await first.ended
    await finish(topics)
    await expectExactlyOnce(topics.output, records)
  })

  it('goes on after the broker was killed and started again', async (context) => {
    const topics = await makeTopics()
    const records = await feed(topics.input, (written) => written >= 20_000)
    const one = copier(topics, 'a', { pauseMs: 30 })
    await one.resumedMs
    // A coordinator that dies within moments of a join may come back without it, and then fences the static member: see docs/architecture.md.
    await waitForCommit(topics)
    await stack.killBroker()
    await clock.sleep(1000)
    await stack.startBroker()
    let restarts = 0
    await finish(topics, ({ errors }) => {
      assert.match(errors.join(''), /FENCED/)
      assert.ok(++restarts <= 3, errors.join(''))
      copier(topics, 'a', { pauseMs: 30 })
    })
    context.diagnostic(`restarts ${restarts}; ${one.errors.join('')}`)
    await expectExactlyOnce(topics.output, records)
  })
})
