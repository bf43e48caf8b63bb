import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { EnergyMeter, type EnergyFigure } from '../src/base/energy-meter.js'
import { systemClock } from '../src/base/clock.js'
import { uniqueSuffix } from '../src/base/prng.js'
import { connectLimits } from '../src/connection/security.js'
import { KafkaAdmin } from '../src/consumer/admin.js'
import { LatencyHistogram } from '../src/base/latency-histogram.js'
import { connectionArguments, type Connections } from '../src/stack/connections.js'
import type { EngineStats } from '../src/topology/engine-stats.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { topologyNames } from '../src/topology/names.js'
import { benchTopology } from './bench-topology.js'
import { measureGroup, median, round, startHarrier, startScript, stopProcess, type Measured } from './meter.js'
import { rawOnnxRowsPerSecond } from './raw-onnx.js'

const partitions = 4
const gruBatch = 512
const windowBatch = 256
const rawOnnxSeconds = 2
/** The first seconds of the delay run warm up and are not counted. */
const delayWarmupMs = 4000

export interface PipelineBenchOptions {
  readonly connections: Connections
  readonly events: number
  readonly repeats: number
  readonly delaySeconds: number
  /** A folder for CPU profiles of the pipelines; they cost some speed. */
  readonly cpuProf?: string | undefined
  readonly onStep: (text: string) => void
}

export interface PipelineBenchResult {
  readonly events: number
  readonly repeats: number
  readonly rawOnnxGruPerSecond: number
  readonly rawOnnxAttentionPerSecond: number
  readonly rawCopyPerSecond: number
  readonly rawCopyCpuMicrosPerEvent: number
  readonly pipelinePerSecond: number
  readonly pipelineCpuMicrosPerEvent: number
  readonly ratioToRawCopy: number
  readonly attentionPerSecond: number
  readonly attentionCpuMicrosPerEvent: number
  readonly ratioToRawOnnx: number
  /** Over the whole bench. */
  readonly energy: EnergyFigure
  readonly delayAtPerSecond: number
  readonly delayMsP50: number
  readonly delayMsP99: number
  readonly delayMsP999: number
}

/**
 * The whole pipeline beside its two limits, interleaved on the same broker and the same bytes: raw onnxruntime (no
 * Kafka) and the raw exactly-once copy through the same client with the same settings and batch.
 * Medians over repeats.
 */
export async function benchPipeline(options: PipelineBenchOptions): Promise<PipelineBenchResult> {
  const { connections, events, repeats, onStep } = options
  const namespace = `bench-${uniqueSuffix()}`
  const folder = mkdtempSync(join(tmpdir(), 'harrier-bench-'))
  const admin = new KafkaAdmin({ brokers: connections.brokers, security: connections.security, clock: systemClock, ...connectLimits(connections) })
  await admin.start()
  const connection = connectionArguments(connections)
  const input = `${namespace}.transactions`
  const made = new Set([input])
  try {
    const meter = new EnergyMeter()
    onStep(`filling ${input} with ${events.toLocaleString('en')} transactions`)
    await finished(['simulate', '--namespace', namespace, '--events', String(events), '--labels', 'none', '--partitions', String(partitions), ...connection])
    const runs = { copy: [] as Measured[], gru: [] as Measured[], attention: [] as Measured[], onnxGru: [] as number[], onnxAttention: [] as number[] }
    const nodeArgs = options.cpuProf === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', options.cpuProf]
    const runPipeline = async (model: string, run: number): Promise<Measured> => {
      const file = benchTopology(folder, `bench-${model.split('@')[0]}-${run}`, model)
      const names = topologyNames(loadTopology(file), namespace)
      for (const sink of names.sinks) made.add(sink)
      const start = () => {
        const child = startHarrier(['run', '--json', '--topology', file, '--namespace', namespace, '--create-topics', '--instance-id', 'bench', ...connection], { nodeArgs })
        child.stdout!.resume()
        return child
      }
      return measureGroup(admin, { group: names.group, topic: input, total: events, start })
    }
    const runCopy = async (run: number): Promise<Measured> => {
      const copy = `${namespace}.copy-${run}`
      made.add(copy)
      await admin.ensureTopics([{ topic: copy, partitions }], { create: true })
      const script = new URL('./raw-copy-process.js', import.meta.url)
      const batch = String(loadTopology('card-fraud').spec.limits.batchRecordsMax)
      return measureGroup(admin, { group: copy, topic: input, total: events, start: () => startScript(script, [input, copy, copy, batch, ...connection]) })
    }
    for (let run = 1; run <= repeats; run++) {
      const say = (what: string, rate: number): void => onStep(`run ${run} of ${repeats}: ${what.padEnd(34)} ${Math.round(rate).toLocaleString('en').padStart(10)} /s`)
      runs.onnxGru.push(await rawOnnxRowsPerSecond('card-gru@1', gruBatch, rawOnnxSeconds))
      say(`raw onnxruntime, card-gru, batch ${gruBatch}`, runs.onnxGru.at(-1)!)
      runs.onnxAttention.push(await rawOnnxRowsPerSecond('card-attention@1', windowBatch, rawOnnxSeconds))
      say(`raw onnxruntime, attention, ${windowBatch}`, runs.onnxAttention.at(-1)!)
      runs.copy.push(await runCopy(run))
      say('raw exactly-once copy', runs.copy.at(-1)!.perSecond)
      runs.gru.push(await runPipeline('card-gru@1', run))
      say('pipeline, card-gru', runs.gru.at(-1)!.perSecond)
      runs.attention.push(await runPipeline('card-attention@1', run))
      say('pipeline, card-attention', runs.attention.at(-1)!.perSecond)
    }
    const middle = (measured: readonly Measured[]) => ({
      perSecond: median(measured.map((run) => run.perSecond)),
      cpu: median(measured.map((run) => run.cpuMicrosPerEvent)),
    })
    const copy = middle(runs.copy)
    const gru = middle(runs.gru)
    const attention = middle(runs.attention)
    const rate = Math.round(gru.perSecond / 2)
    onStep(`delay at half the rate, ${rate.toLocaleString('en')} events/s, for ${options.delaySeconds} s`)
    const delay = await measureDelay(`${namespace}d`, folder, connection, rate, options.delaySeconds, made)
    return {
      events,
      repeats,
      rawOnnxGruPerSecond: Math.round(median(runs.onnxGru)),
      rawOnnxAttentionPerSecond: Math.round(median(runs.onnxAttention)),
      rawCopyPerSecond: Math.round(copy.perSecond),
      rawCopyCpuMicrosPerEvent: round(copy.cpu, 2),
      pipelinePerSecond: Math.round(gru.perSecond),
      pipelineCpuMicrosPerEvent: round(gru.cpu, 2),
      ratioToRawCopy: round(gru.perSecond / copy.perSecond, 3),
      attentionPerSecond: Math.round(attention.perSecond),
      attentionCpuMicrosPerEvent: round(attention.cpu, 2),
      ratioToRawOnnx: round(attention.perSecond / median(runs.onnxAttention), 3),
      energy: meter.figure(),
      delayAtPerSecond: rate,
      delayMsP50: round(delay.quantile(0.5), 2),
      delayMsP99: round(delay.quantile(0.99), 2),
      delayMsP999: round(delay.quantile(0.999), 2),
    }
  } finally {
    await admin.deleteTopics([...made]).catch(() => undefined)
    await admin.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** From the timestamp of a record to the commit of its score, with an open-loop source. */
async function measureDelay(namespace: string, folder: string, connection: string[], rate: number, seconds: number, made: Set<string>): Promise<LatencyHistogram> {
  const file = benchTopology(folder, 'bench-delay', 'card-gru@1')
  const names = topologyNames(loadTopology(file), namespace)
  for (const topic of [names.input, ...names.sinks]) made.add(topic)
  const engine = startHarrier(['run', '--json', '--topology', file, '--namespace', namespace, '--create-topics', '--instance-id', 'bench', ...connection])
  const delay = new LatencyHistogram()
  let countFromMs = Infinity
  const lines = createInterface({ input: engine.stdout! })
  let running: () => void = () => undefined
  const ready = new Promise<void>((resolveReady) => (running = resolveReady))
  lines.on('line', (line) => {
    const stats = JSON.parse(line) as EngineStats
    if (stats.state === 'running') running()
    if (systemClock.monotonicMs() >= countFromMs) delay.merge(LatencyHistogram.fromJSON(stats.delayHistogram))
  })
  try {
    await ready
    countFromMs = systemClock.monotonicMs() + delayWarmupMs
    const total = Math.round(rate * (seconds + delayWarmupMs / 1000))
    await finished(['simulate', '--namespace', namespace, '--events', String(total), '--rate', String(rate), '--labels', 'none', ...connection])
  } finally {
    await stopProcess(engine)
  }
  return delay
}

async function finished(args: string[]): Promise<void> {
  const child = startHarrier(args)
  child.stdout!.resume()
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`harrier ${args.join(' ')} ended with ${code}`)
}
