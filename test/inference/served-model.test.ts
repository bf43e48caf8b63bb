import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError, type ErrorCode } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { Prng } from '../../src/base/prng.js'
import { queueLimitsDefault, type QueueLimits } from '../../src/inference/serving/request-queue.js'
import { scoreSequences } from '../../src/inference/serving/row-scores.js'
import { ServedModel, type InferAnswer, type InferRequest } from '../../src/inference/serving/served-model.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { HANG_AT, THROW_AT } from './onnx-maker.js'
import { F, features, gruOperator, gruStep, H, rowModel, TestStore, windowDense, windowGru, type TestModel } from './test-models.js'

const isError = (code: ErrorCode) => (error: unknown): boolean => error instanceof HarrierError && error.code === code

describe('a served model', () => {
  const store = new TestStore()
  const open: ServedModel[] = []
  const stops: (() => void)[] = []
  let models = 0

  async function serve(model: TestModel, more: { queue?: Partial<QueueLimits>; threads?: number; manifest?: Record<string, unknown> } = {}): Promise<ServedModel> {
    const loaded = store.add(`served-${models++}`, model, more.manifest)
    const served = new ServedModel({ model: loaded, device: 'cpu', threads: more.threads ?? 1, queue: { ...queueLimitsDefault, timeoutMsMax: 60_000, ...more.queue }, clock: systemClock, logger: silentLogger })
    open.push(served)
    await served.open()
    stops.push(systemClock.every(5, () => served.watch()))
    return served
  }
  after(async () => {
    for (const stop of stops) stop()
    for (const served of open) await served.close()
    // On a slow machine the runs that hang go on for longer than a close waits.
    for (const served of open) while (served.hangingThreads > 0) await systemClock.sleep(100)
    store.remove()
  })

  const prng = new Prng(9)
  const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, () => prng.normal())
  const gruRequest = (rows: number, more: Partial<InferRequest> = {}): InferRequest => ({
    inputs: [
      { name: 'x', type: 'float32', dims: [1, rows, 3], data: numbers(rows * 3) },
      { name: 'h', type: 'float32', dims: [2, rows, H], data: numbers(2 * rows * H) },
    ],
    outputs: null, priority: 2, timeoutMs: Infinity, ...more,
  })
  const rowRequest = (rows: number, first = 0.5, more: Partial<InferRequest> = {}): InferRequest => {
    const data = numbers(rows * F)
    data[0] = first
    return { inputs: [{ name: 'x', type: 'float32', dims: [rows, F], data }], outputs: null, priority: 2, timeoutMs: Infinity, ...more }
  }
  const values = ({ outputs }: InferAnswer): unknown[] => outputs.map(({ name, dims, data }) => [name, dims, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')])

  it('answers requests that came together in one batch with the bits that each has alone, wherever the batch axis stands', async () => {
    const served = await serve(gruOperator(), { queue: { delayMs: 200 } })
    const requests = [1, 3, 2, 7, 1].map((rows) => gruRequest(rows))
    const together = await Promise.all(requests.map((request) => served.infer(request)))
    assert.deepEqual(together.map(({ batchRows }) => batchRows), [14, 14, 14, 14, 14])
    assert.equal(served.counters.batches, 1)
    for (const [index, request] of requests.entries()) assert.deepEqual(values(await served.infer(request)), values(together[index]!))
    assert.deepEqual(together[1]!.outputs.map(({ name, dims }) => [name, dims]), [['score', [3, 1]], ['h_next', [2, 3, H]]])
  })

  it('gives only the outputs that were asked for, and runs more rows than a batch may have in pieces of the same bits', async () => {
    const served = await serve(gruOperator(), { manifest: { limits: { batchRowsMax: 4 } } })
    const request = gruRequest(11)
    const answer = await served.infer(request)
    assert.deepEqual([served.counters.runs, served.counters.batches], [3, 1])
    const { outputs } = await served.infer({ ...request, outputs: ['h_next'] })
    assert.deepEqual(outputs.map(({ name }) => name), ['h_next'])
    const whole = await serve(gruOperator())
    assert.deepEqual(values(await whole.infer(request)), values(answer))
  })

  it('says what is wrong with a request that does not fit the model', async () => {
    const served = await serve(rowModel())
    const wrong = (inputs: InferRequest['inputs'], message: RegExp, outputs: string[] | null = null): Promise<void> =>
      assert.rejects(served.infer({ ...rowRequest(1), inputs, outputs }), (error: HarrierError) => isError('REQUEST_INVALID')(error) && message.test(error.message))
    const x = { name: 'x', type: 'float32' as const, dims: [1, F], data: numbers(F) }
    await wrong([], /input "x" is missing: served-\d+@1 takes float32 \[rows, 5\]/)
    await wrong([{ ...x, type: 'float64', data: new Float64Array(F) }], /"x" is float64/)
    await wrong([{ ...x, dims: [1, 4] }], /shape \[1, 4\]/)
    await wrong([{ ...x, dims: [0, F], data: numbers(0) }], /no rows/)
    await wrong([{ ...x, dims: [2, F] }], /5 values for shape \[2, 5\]/)
    await wrong([x, x], /2 times/)
    await wrong([x, { ...x, name: 'y' }], /no input "y"/)
    await wrong([x], /no output "z"/, ['z'])
    assert.equal(served.counters.failures.invalid, 8)
  })

  it('refuses, expires and drops requests while a batch runs, and answers the others', async () => {
    const served = await serve(rowModel(7), { queue: { requestsMax: 3, delayMs: 300 } })
    const gone = new AbortController()
    const dropped = served.infer(rowRequest(1, 0.1, { signal: gone.signal }))
    const expiring = served.infer(rowRequest(1, 0.1, { timeoutMs: 1 }))
    const answered = served.infer(rowRequest(1))
    await assert.rejects(served.infer(rowRequest(1)), (error: HarrierError) => isError('OVERLOADED')(error) && error.retryAfterMs! >= 1000)
    gone.abort()
    await assert.rejects(dropped, isError('OVERLOADED'))
    await assert.rejects(expiring, isError('OVERLOADED'))
    assert.equal((await answered).batchRows, 1)
    assert.deepEqual(served.counters.failures, { invalid: 0, overloaded: 1, expired: 1, cancelled: 1, model: 0 })
    assert.equal(served.queued.requests, 0)
  })

  it('gives a thread its next batch before it has ended this one where that is large, and waits where it is small', async () => {
    const served = await serve(rowModel(), { manifest: { limits: { batchRowsMax: 4 } } })
    await served.infer(rowRequest(4))
    const full = Array.from({ length: 6 }, () => rowRequest(4))
    const answers = full.map((request) => served.infer(request))
    assert.equal(served.queued.requests, 4, 'one runs, one lies ahead')
    const together = await Promise.all(answers)
    for (const [index, request] of full.entries()) assert.deepEqual(values(await served.infer(request)), values(together[index]!))
    const small = Array.from({ length: 3 }, () => served.infer(rowRequest(1)))
    assert.equal(served.queued.requests, 2)
    assert.deepEqual((await Promise.all(small)).map(({ batchRows }) => batchRows), [1, 2, 2])
  })

  it('does not lose the batch that lies ahead when its thread hangs', async () => {
    const served = await serve(gruStep(1, true), { manifest: { limits: { timeoutMs: 150, batchRowsMax: 1 } } })
    const request = (first: number): InferRequest => {
      const data = numbers(F)
      data[0] = first
      return { inputs: [{ name: 'x', type: 'float32', dims: [1, F], data }, { name: 'h', type: 'float32', dims: [1, H], data: new Float32Array(H) }], outputs: null, priority: 2, timeoutMs: Infinity }
    }
    const [first, second] = [request(0.1), request(0.2)]
    const alone = [values(await served.infer(first)), values(await served.infer(second))]
    const hanging = assert.rejects(served.infer(request(HANG_AT)), isError('MODEL_FAILED'))
    const ahead = [served.infer(first), served.infer(second)]
    assert.equal(served.queued.requests, 1)
    await hanging
    assert.deepEqual((await Promise.all(ahead)).map(values), alone)
  })

  it('fails the batch of a model that throws, and goes on', async () => {
    const served = await serve(windowDense(4, true))
    const request = (first: number): InferRequest => {
      const data = numbers(4 * F)
      data.fill(first, 3 * F, 3 * F + 1)
      return { inputs: [{ name: 'x', type: 'float32', dims: [1, 4, F], data }, { name: 'mask', type: 'float32', dims: [1, 4], data: Float32Array.of(1, 1, 1, 1) }], outputs: null, priority: 2, timeoutMs: Infinity }
    }
    await assert.rejects(served.infer(request(THROW_AT)), isError('MODEL_FAILED'))
    assert.equal((await served.infer(request(0))).rows, 1)
    assert.equal(served.isReady, true)
  })

  it('that hangs loses its thread, gets a fresh one, and after three times in a minute is set aside', async () => {
    const served = await serve(gruStep(1, true), { manifest: { limits: { timeoutMs: 150 } } })
    const request = (first: number): InferRequest => {
      const data = numbers(F)
      data[0] = first
      return { inputs: [{ name: 'x', type: 'float32', dims: [1, F], data }, { name: 'h', type: 'float32', dims: [1, H], data: new Float32Array(H) }], outputs: null, priority: 2, timeoutMs: Infinity }
    }
    for (let time = 0; time < 3; time++) {
      await assert.rejects(served.infer(request(HANG_AT)), (error: HarrierError) => isError('MODEL_FAILED')(error) && /took more than 150 ms/.test(error.message))
      if (time < 2) assert.equal((await served.infer(request(0))).rows, 1)
    }
    assert.equal(served.isReady, false)
    await assert.rejects(served.infer(request(0)), (error: HarrierError) => isError('MODEL_FAILED')(error) && error.retryAfterMs === 60_000)
  })

  describe('scores sequences as the stream does', () => {
    const cases: [string, TestModel][] = [['a row model', rowModel()], ['a window with a mask', windowDense()], ['a time-major window with lengths', windowGru()], ['a recurrent model', gruStep()], ['stacked states', gruOperator()]]
    const sequences = [1, 2, 3, 5, 9].map((length) => Array.from({ length }, () => numbers(F)))
    const scored = new Map<string, number[]>()
    let loaded: LoadedModel[] = []

    before(async () => {
      loaded = cases.map(([, model], index) => store.add(`stream-${index}`, model))
      const scorer = await createScorer({ features, window: 8, models: loaded.map((model) => ({ model, role: 'shadow' })), device: 'cpu', workers: 0, clock: systemClock, limits: { rowsMax: 64 } })
      // an entity for each sequence, and its events one after the other
      for (const [slot, rows] of sequences.entries()) {
        for (const [step, row] of rows.entries()) {
          const frame = scorer.acquireFrame()!
          frame.rows.set(row, 0)
          frame.slot[0] = slot
          frame.flags[0] = 0
          frame.eventTime[0] = step
          frame.count = 1
          await scorer.score(frame)
          if (step === rows.length - 1) loaded.forEach(({ reference }, model) => scored.set(reference, [...(scored.get(reference) ?? []), frame.scores[model]![0]!]))
          scorer.releaseFrame(frame)
        }
      }
      await scorer.close()
    })

    for (const [index, [name, model]] of cases.entries()) {
      it(`of ${name}, to the bit`, async () => {
        const served = await serve(model)
        const columns = served.model.manifest.features.map((feature) => features.indexOf(feature))
        const own = sequences.map((rows) => rows.map((row) => Float32Array.from(columns, (column) => row[column]!)))
        assert.deepEqual([...(await scoreSequences(served, own, { priority: 2, timeoutMs: Infinity }))], scored.get(loaded[index]!.reference))
      })
    }
  })
})
