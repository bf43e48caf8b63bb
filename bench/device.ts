import { existsSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.js'
import { HarrierError } from '../src/base/errors.js'
import { Prng } from '../src/base/prng.js'
import { createScorer } from '../src/inference/create-scorer.js'
import { measureCrossover, type Crossover } from '../src/inference/device-crossover.js'
import { openSession, whyNotHere, type Device, type DevicePolicy } from '../src/inference/device.js'
import { RESET, type Frame } from '../src/inference/frame.js'
import { goldenFile, testGolden } from '../src/inference/golden.js'
import { modelSource } from '../src/inference/loaded-model.js'
import { ModelStore } from '../src/inference/model-store.js'
import type { Scorer } from '../src/inference/scorer.js'
import { onnxruntimeVersion } from '../src/inference/device-class.js'
import type { Finding } from '../src/stack/doctor.js'
import { examineGpu } from '../src/stack/doctor-gpu.js'
import type { Topology } from '../src/topology/load-topology.js'
import { modelsFolder, modelUses, stageCategories } from '../src/topology/open-scorer.js'

/** Scores of two devices may differ by so much: see docs/models.md, "Devices". */
export const scoreTolerance = 1e-5
/** Entities that the events are of: every batch has several events of some. */
const entities = 5_000
/** Batches whose scores are compared between devices, and between numbers of workers. */
const comparedBatches = 4
const seed = 20_261

export interface DeviceBenchOptions {
  readonly topology: Topology
  readonly models: string | undefined
  /** Default: every GPU provider that is here. */
  readonly devices: readonly Device[] | undefined
  /** Length of each run for speed. */
  readonly seconds: number
  readonly onStep: (text: string) => void
}

export interface Claim {
  readonly claim: string
  readonly passed: boolean
  readonly detail: string
}

export interface Speed {
  readonly device: Device
  readonly workers: number
  /** Rows that went through every model of the topology. */
  readonly rowsPerSecond: number
}

export interface DeviceBenchResult {
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string; readonly onnxruntime: string }
  readonly topology: string
  readonly batchRows: number
  readonly findings: readonly Finding[]
  readonly agreement: readonly { readonly device: Device; readonly model: string; readonly largestDifference: number }[]
  readonly crossovers: readonly Crossover[]
  readonly speeds: readonly Speed[]
  readonly auto: readonly { readonly model: string; readonly device: Device; readonly deviceNote: string | null }[]
  readonly claims: readonly Claim[]
  readonly passed: boolean
}

/**
 * Everything that is claimed of GPUs, tried on this machine with the models of a topology: scores as on the CPU, golden rows, bits
 * that do not depend on the number of workers, the crossover, the speed of the whole scorer, and what `auto` makes of it.
 * Errors: DEVICE_UNAVAILABLE when no GPU provider can run a model of the topology.
 */
export async function benchDevice(options: DeviceBenchOptions): Promise<DeviceBenchResult> {
  const { topology, onStep } = options
  const findings = await examineGpu(topology, options.models)
  const devices = await usableDevices(options)
  const claims: Claim[] = []
  const agreement: DeviceBenchResult['agreement'][number][] = []
  const crossovers: Crossover[] = []
  const speeds: Speed[] = []
  const cores = availableParallelism()
  onStep('cpu: reference scores')
  const reference = await scoresOn(options, 'cpu', 1)
  speeds.push(await speedOn(options, 'cpu', 1))
  if (cores > 1) speeds.push(await speedOn(options, 'cpu', cores))
  for (const device of devices) {
    onStep(`${device}: scores beside those of the CPU`)
    const scores = await scoresOn(options, device, 1)
    scores.forEach(({ model, values }, index) => {
      const largestDifference = values.reduce((largest, value, row) => Math.max(largest, difference(value, reference[index]!.values[row]!)), 0)
      agreement.push({ device, model, largestDifference })
      claims.push({ claim: `${model} scores on ${device} as on the CPU`, passed: largestDifference <= scoreTolerance, detail: `${values.length.toLocaleString('en')} scores, largest difference ${largestDifference.toExponential(1)}, tolerance ${scoreTolerance}` })
    })
    for (const workers of [1, 2]) {
      onStep(`${device}: the same again with ${workers} ${workers > 1 ? 'workers' : 'worker'}`)
      const again = await scoresOn(options, device, workers)
      const others = again.reduce((count, { values }, index) => count + values.filter((value, row) => !Object.is(value, scores[index]!.values[row])).length, 0)
      claims.push({ claim: `${device} gives the same bits ${workers > 1 ? `with ${workers} workers` : 'again'}`, passed: others === 0, detail: `${others} scores differ` })
    }
    for (const { model } of uses(options)) {
      if (!existsSync(join(model.folder, goldenFile))) continue
      onStep(`${device}: golden rows of ${model.reference}`)
      const { passed, largestDifference, dependent, compared } = await testGolden(model.folder, { device, clock: systemClock })
      claims.push({ claim: `golden rows of ${model.reference} on ${device}`, passed, detail: `${compared} scores, largest difference ${largestDifference.toExponential(1)}, ${dependent} depend on their neighbours` })
    }
    for (const { model } of uses(options)) {
      onStep(`${device}: crossover of ${model.reference}`)
      crossovers.push(await measureCrossover(model, device, systemClock))
    }
    for (const workers of [1, 2]) speeds.push(await speedOn(options, device, workers))
  }
  onStep('auto')
  const auto = await withScorer(options, 'auto', 1, (scorer) => Promise.resolve(scorer.models.map(({ reference, device, deviceNote }) => ({ model: reference, device, deviceNote }))))
  for (const { model, deviceNote } of auto) claims.push({ claim: `auto says what it measured for ${model}`, passed: / rows take /.test(deviceNote ?? ''), detail: deviceNote ?? '' })
  return {
    machine: { cpu: cpus()[0]?.model.trim() ?? process.arch, cores, node: process.versions.node, onnxruntime: onnxruntimeVersion() },
    topology: topology.name, batchRows: topology.spec.limits.batchRecordsMax, findings, agreement, crossovers, speeds, auto, claims,
    passed: claims.every(({ passed }) => passed),
  }
}

function uses({ topology, models }: DeviceBenchOptions): ReturnType<typeof modelUses> {
  return modelUses(topology, new ModelStore(models ?? modelsFolder))
}

/** Those of the wanted devices that run all models of the topology. Errors: DEVICE_UNAVAILABLE, for one that was named or when there is none. */
async function usableDevices(options: DeviceBenchOptions): Promise<Device[]> {
  const usable: Device[] = []
  const problems: string[] = []
  for (const device of options.devices ?? (['cuda', 'webgpu'] as const)) {
    try {
      for (const { model } of uses(options)) await (await openSession(modelSource(model), model.reference, device)).session.release()
      usable.push(device)
    } catch (error) {
      if (options.devices !== undefined || !(error instanceof HarrierError)) throw error
      problems.push(whyNotHere(device) === null ? error.message : `${device}: ${whyNotHere(device)!}`)
    }
  }
  if (usable.length > 0) return usable
  throw new HarrierError('DEVICE_UNAVAILABLE', `no GPU runs the models of ${options.topology.name}: ${problems.join('; ')}`, { remedy: '`harrier doctor --gpu` tells what is missing' })
}

async function withScorer<T>(options: DeviceBenchOptions, device: DevicePolicy, workers: number, work: (scorer: Scorer) => Promise<T>): Promise<T> {
  const { stage, spec } = options.topology
  const scorer = await createScorer({
    features: stage.features.map(({ name }) => name),
    categories: stageCategories(stage),
    window: stage.ring,
    models: uses(options),
    device,
    workers,
    clock: systemClock,
    // a software adapter takes its time
    limits: { rowsMax: spec.limits.batchRecordsMax, framesMax: 2, workerStartMsMax: 300_000 },
  })
  try {
    return await work(scorer)
  } finally {
    await scorer.close()
  }
}

/** The scores of seeded batches: [model][row]. */
async function scoresOn(options: DeviceBenchOptions, device: Device, workers: number): Promise<{ model: string; values: number[] }[]> {
  return withScorer(options, device, workers, async (scorer) => {
    const events = new Events(options.topology)
    const all = scorer.models.map(({ reference }) => ({ model: reference, values: [] as number[] }))
    for (let batch = 0; batch < comparedBatches; batch++) {
      const frame = scorer.acquireFrame()!
      events.fill(frame)
      await scorer.score(frame)
      if (frame.failures.length > 0) throw new HarrierError('MODEL_FAILED', `on ${device}: ${frame.failures[0]!.message}`)
      all.forEach(({ values }, index) => values.push(...frame.scores[index]!.subarray(0, frame.count)))
      scorer.releaseFrame(frame)
    }
    return all
  })
}

/** Full batches through all models, one ahead, for some seconds. */
async function speedOn(options: DeviceBenchOptions, device: Device, workers: number): Promise<Speed> {
  options.onStep(`${device}: speed with ${workers} ${workers > 1 ? 'workers' : 'worker'}`)
  return withScorer(options, device, workers, async (scorer) => {
    const events = new Events(options.topology)
    let rows = 0
    const one = async (): Promise<void> => {
      const frame = scorer.acquireFrame()!
      events.fill(frame)
      await scorer.score(frame)
      rows += frame.count
      scorer.releaseFrame(frame)
    }
    await Promise.all([one(), one()])
    rows = 0
    const startMs = systemClock.monotonicMs()
    const endMs = startMs + options.seconds * 1000
    await Promise.all([0, 1].map(async () => {
      while (systemClock.monotonicMs() < endMs) await one()
    }))
    return { device, workers, rowsPerSecond: Math.round((rows * 1000) / (systemClock.monotonicMs() - startMs)) }
  })
}

/** Batches of seeded feature rows of a stage, in event-time order. */
class Events {
  readonly #prng = new Prng(seed)
  readonly #features: readonly { readonly values: number }[]
  readonly #rows: number
  readonly #seen = new Set<number>()
  #eventTime = 0

  constructor(topology: Topology) {
    const categories = stageCategories(topology.stage)
    this.#features = topology.stage.features.map(({ name }) => ({ values: categories.get(name)?.length ?? 0 }))
    this.#rows = topology.spec.limits.batchRecordsMax
  }

  fill(frame: Frame): void {
    const prng = this.#prng
    frame.count = this.#rows
    for (let row = 0; row < this.#rows; row++) {
      const slot = prng.below(entities)
      frame.slot[row] = slot
      frame.flags[row] = this.#seen.has(slot) ? 0 : RESET
      this.#seen.add(slot)
      frame.eventTime[row] = ++this.#eventTime
      this.#features.forEach(({ values }, feature) => {
        frame.rows[row * this.#features.length + feature] = values > 0 ? prng.below(values + 1) : prng.normal()
      })
    }
  }
}

/** NaN beside NaN is no difference, NaN beside a number is the largest. */
function difference(a: number, b: number): number {
  return Object.is(a, b) ? 0 : Number.isNaN(a) || Number.isNaN(b) ? Infinity : Math.abs(a - b)
}
