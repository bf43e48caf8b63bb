import { InferenceSession, Tensor } from 'onnxruntime-node'
import { NO_UPDATE, RESET } from '../../src/inference/frame.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { ScheduledEvent } from './schedule.js'

interface Entity {
  ring: { eventTime: number; row: Float32Array }[]
  /** By model; null = to be warmed. */
  hidden: (Float32Array | null)[]
}

/** The rules of inference said plainly: one event at a time, one run for each step, arrays and no slabs. Ring of `window` rows. */
export class NaiveScorer {
  readonly #models: { manifest: LoadedModel['manifest']; session: InferenceSession; floats: number; batch: number }[] = []
  readonly #window: number
  readonly #entities = new Map<number, Entity>()

  private constructor(window: number) {
    this.#window = window
  }

  /** `batches`: the batch size at which each model runs; all rows of a batch are the same one. */
  static async create(models: readonly LoadedModel[], window: number, batches: readonly number[]): Promise<NaiveScorer> {
    const naive = new NaiveScorer(window)
    for (const [index, { manifest, file }] of models.entries()) {
      const floats = manifest.states.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
      naive.#models.push({ manifest, session: await InferenceSession.create(file, { intraOpNumThreads: 1 }), floats, batch: batches[index]! })
    }
    return naive
  }

  /** One score for each model. */
  async score(event: ScheduledEvent): Promise<number[]> {
    const { slot, eventTime, flags } = event
    const row = Float32Array.from(event.row)
    let entity = this.#entities.get(slot)
    if (!entity || flags & RESET) {
      entity = { ring: [], hidden: this.#models.map(({ floats }) => new Float32Array(floats)) }
      this.#entities.set(slot, entity)
    }
    const late = (flags & NO_UPDATE) !== 0
    const { ring, hidden } = entity
    const place = ring.filter((each) => each.eventTime <= eventTime).length
    const before = (late ? ring : ring.slice(0, place)).map((each) => each.row)
    const inOrder = place === ring.length
    const inserted = !late && (ring.length < this.#window || place > 0)
    const scores: number[] = []
    for (const [index, model] of this.#models.entries()) {
      const { kind, window } = model.manifest
      if (kind === 'recurrent') {
        let state = late || inOrder ? hidden[index]! : null
        if (state === null) {
          state = new Float32Array(model.floats)
          for (const each of before) state = (await this.#step(index, each, state)).next
        }
        const { score, next } = await this.#step(index, row, state)
        scores.push(score)
        if (!late && inOrder) hidden[index] = next
        else if (inserted) hidden[index] = null
      } else if (kind === 'window') {
        const rows = [...before.slice(-(window! - 1)), row]
        scores.push(await this.#runWindow(index, rows))
      } else scores.push(await this.#runWindow(index, [row]))
    }
    if (inserted) {
      ring.splice(place, 0, { eventTime, row })
      if (ring.length > this.#window) ring.shift()
    }
    return scores
  }

  async #step(index: number, row: Float32Array, state: Float32Array): Promise<{ score: number; next: Float32Array }> {
    const { manifest, session, batch } = this.#models[index]!
    const { shape, batchAxis } = manifest.states[0]!
    const x = pick(row, manifest.features)
    const outer = batchAxis === 0 ? 1 : shape[0]!
    const inner = state.length / outer
    // [outer, batch, inner]
    const states = Array.from({ length: outer }, (_, o) => repeat(state.subarray(o * inner, (o + 1) * inner), batch)).flat()
    const outputs = await session.run({
      x: new Tensor('float32', Float32Array.from(repeat(x, batch)), manifest.layout === 'time-major' ? [1, batch, x.length] : [batch, x.length]),
      h: new Tensor('float32', Float32Array.from(states), batchAxis === 0 ? [batch, ...shape] : [shape[0]!, batch, ...shape.slice(1)]),
    })
    const all = outputs['h_next']!.data as Float32Array
    const next = Float32Array.from(Array.from({ length: outer }, (_, o) => [...all.subarray(o * batch * inner, o * batch * inner + inner)]).flat())
    return { score: this.#read(index, outputs['score']!.data as Float32Array), next: next.every(Number.isFinite) ? next : state }
  }

  async #runWindow(index: number, rows: readonly Float32Array[]): Promise<number> {
    const { manifest, session, batch } = this.#models[index]!
    const { features, layout } = manifest
    const window = manifest.window ?? 1
    const padding = Array.from({ length: window - rows.length }, () => new Float32Array(features.length))
    const padded = [...padding, ...rows.map((row) => pick(row, features))]
    const timeMajor = layout === 'time-major'
    const flat = timeMajor ? padded.flatMap((row) => repeat(row, batch)) : repeat(Float32Array.from(padded.flatMap((row) => [...row])), batch)
    const shape = manifest.kind === 'row' ? [batch, features.length] : [...(timeMajor ? [window, batch] : [batch, window]), features.length]
    const feeds: Record<string, Tensor> = { x: new Tensor('float32', Float32Array.from(flat), shape) }
    for (const { name, what } of manifest.inputs) {
      if (what === 'lengths') feeds[name] = new Tensor('int64', BigInt64Array.from(Array<bigint>(batch).fill(BigInt(rows.length))), [batch])
      const mask = padded.map((_, step) => (step < window - rows.length ? 0 : 1))
      if (what === 'mask') feeds[name] = new Tensor('float32', Float32Array.from(repeat(Float32Array.from(mask), batch)), [batch, window])
    }
    return this.#read(index, (await session.run(feeds))['score']!.data as Float32Array)
  }

  #read(index: number, data: Float32Array): number {
    const { meaning, column } = this.#models[index]!.manifest.score
    const value = data[column]!
    if (meaning === 'logit') return Math.fround(1 / (1 + Math.exp(-value)))
    return Number.isFinite(value) ? value : NaN
  }
}

/** Features of the test stage are named f0, f1, … */
function pick(row: Float32Array, names: readonly string[]): Float32Array {
  return Float32Array.from(names, (name) => row[Number(name.slice(1))]!)
}

function repeat(row: Float32Array, times: number): number[] {
  return Array.from({ length: times }, () => [...row]).flat()
}
