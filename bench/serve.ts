import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { systemClock } from '../src/base/clock.js'
import { Prng, uniqueSuffix } from '../src/base/prng.js'
import { connectLimits } from '../src/connection/security.js'
import { KafkaAdmin } from '../src/consumer/admin.js'
import { connectionArguments, type Connections } from '../src/stack/connections.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { topologyNames } from '../src/topology/names.js'
import { benchTopology } from './bench-topology.js'
import { closedLoop, openLoop, type Call, type LoadResult } from './http-load.js'
import { median, round, startHarrier, stopProcess } from './meter.js'
import { rawOnnxRowsPerSecond } from './raw-onnx.js'

const readyMsMax = 180_000
const clientsAtOnce = 1000
const vanishingClients = 500
const slowClients = 50
const customers = 5000

export interface ServeBenchOptions {
  /** Absent: without a stream, and so without /v1/score. */
  readonly connections: Connections | undefined
  readonly seconds: number
  readonly repeats: number
  /** Requests a second of the open loops over infer, and of /v1/score. */
  readonly inferRate: number
  readonly scoreRate: number
  /** Events a second of the stream beside it. */
  readonly streamRate: number
  readonly soakSeconds: number
  readonly onStep: (text: string) => void
}

export interface Delays {
  readonly perSecond: number
  readonly msP50: number
  readonly msP99: number
  readonly msP999: number
  /** Answers that were no success, by status. */
  readonly others: Readonly<Record<string, number>>
}

export interface Throughput {
  readonly model: string
  readonly rowsOfRequest: number
  readonly rawRowsPerSecond: number
  readonly binaryRowsPerSecond: number
  readonly jsonRowsPerSecond: number
  readonly binaryShareOfRaw: number
  /** CPU of the service, all threads, for a row in binary; and that of bare onnxruntime: machines that are busy with something else change these little. */
  readonly binaryCpuMicrosPerRow: number
  readonly rawCpuMicrosPerRow: number
}

export interface ServiceMemory {
  readonly atSeconds: number
  readonly residentBytes: number
  readonly heapBytes: number
  readonly openFiles: number
}

export interface ServeBenchResult {
  readonly throughput: readonly Throughput[]
  /** Single rows from 64 clients: batches that form by themselves. */
  readonly singleRowsPerSecond: number
  readonly inferJson: Delays
  readonly inferBinary: Delays
  readonly thousandClients: Delays
  readonly besideSlowClients: Delays & { readonly slowClients: number; readonly cutOffAfterSeconds: number }
  readonly afterVanished: { readonly clients: number; readonly waitingRequests: number; readonly openFilesBefore: number; readonly openFilesAfter: number }
  readonly soak: readonly ServiceMemory[]
  readonly score: ScoreDelays | undefined
}

export type ScoreDelays = Delays & { readonly streamPerSecond: number }

/** Rows of card models: [B, F] and for card-gru [B, H], for card-attention [B, W, F]. */
function inferCall(model: string, rows: number, binary: boolean, prng: Prng): Call {
  const shapes: Readonly<Record<string, readonly [name: string, shape: number[]][]>> = {
    'card-row': [['x', [rows, 14]]],
    'card-gru': [['x', [rows, 14]], ['h', [rows, 64]]],
    'card-attention': [['x', [rows, 32, 14]]],
  }
  const parts: Buffer[] = []
  const inputs = shapes[model]!.map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, () => prng.uniform())
    if (!binary) return { name, datatype: 'FP32', shape, data: Array.from(values, (value) => round(value, 4)) }
    parts.push(Buffer.from(values.buffer))
    return { name, datatype: 'FP32', shape, parameters: { binary_data_size: values.byteLength } }
  })
  const json = Buffer.from(JSON.stringify({ inputs, outputs: [{ name: 'score', parameters: { binary_data: binary } }] }))
  const headers = binary ? { 'content-type': 'application/octet-stream', 'inference-header-content-length': json.length } : { 'content-type': 'application/json' }
  return { path: `/v2/models/${model}/infer`, headers, body: Buffer.concat([json, ...parts]) }
}

function delaysOf({ answered, seconds, others, latency }: LoadResult): Delays {
  const at = (quantile: number): number => round(latency.quantile(quantile), 2)
  return { perSecond: Math.round(answered / seconds), msP50: at(0.5), msP99: at(0.99), msP999: at(0.999), others }
}

/** The service under load from another process on the same machine, beside what bare onnxruntime does there. */
export async function benchServe(options: ServeBenchOptions): Promise<ServeBenchResult> {
  const { onStep, seconds } = options
  const prng = new Prng(1)
  const service = await startService(['serve', '--serve-models', 'card-row,card-gru,card-attention', '--queue-timeout-ms', '30000'])
  const { url } = service
  const drawn = (make: () => Call): (() => Call) => {
    const calls = Array.from({ length: 16 }, make)
    let at = 0
    return () => calls[at++ % calls.length]!
  }
  const load = { url, seconds, warmUpSeconds: 1 }
  const single = { json: drawn(() => inferCall('card-row', 1, false, prng)), binary: drawn(() => inferCall('card-row', 1, true, prng)) }
  try {
    const throughput: Throughput[] = []
    for (const [model, rows] of [['card-row', 2048], ['card-gru', 512], ['card-attention', 256]] as const) {
      const runs = { raw: [] as number[], binary: [] as number[], json: [] as number[], rawCpu: [] as number[], binaryCpu: [] as number[] }
      const rate = async (binary: boolean): Promise<number> => {
        const before = await metricsOf(url)
        const { answered } = await closedLoop({ ...load, connections: 4, next: drawn(() => inferCall(model, rows, binary, prng)) })
        const after = await metricsOf(url)
        const spent = (name: string): number => after(name) - before(name)
        if (binary) runs.binaryCpu.push((spent('process_cpu_seconds_total') / spent('harrier_infer_rows_total')) * 1e6)
        return (answered * rows) / seconds
      }
      for (let run = 0; run < options.repeats; run++) {
        const cpu = process.cpuUsage()
        const startMs = systemClock.monotonicMs()
        runs.raw.push(await rawOnnxRowsPerSecond(`${model}@1`, rows, seconds))
        const { user, system } = process.cpuUsage(cpu)
        runs.rawCpu.push(((user + system) * 1000) / (systemClock.monotonicMs() - startMs) / runs.raw.at(-1)!)
        runs.binary.push(await rate(true))
        runs.json.push(await rate(false))
      }
      const [raw, binary, json] = [median(runs.raw), median(runs.binary), median(runs.json)]
      throughput.push({
        model, rowsOfRequest: rows, rawRowsPerSecond: Math.round(raw), binaryRowsPerSecond: Math.round(binary), jsonRowsPerSecond: Math.round(json), binaryShareOfRaw: round(binary / raw, 3),
        binaryCpuMicrosPerRow: round(median(runs.binaryCpu), 2), rawCpuMicrosPerRow: round(median(runs.rawCpu), 2),
      })
      onStep(`${model}, ${rows} rows a request: raw ${Math.round(raw).toLocaleString('en')} rows/s, binary ${Math.round(binary).toLocaleString('en')}, JSON ${Math.round(json).toLocaleString('en')}`)
    }
    const singles = await closedLoop({ ...load, connections: 64, next: single.binary })
    onStep(`single rows from 64 clients: ${Math.round(singles.answered / seconds).toLocaleString('en')} /s`)
    const timed = async (what: string, connections: number, next: () => Call): Promise<Delays> => {
      const delays = delaysOf(await openLoop({ ...load, connections, perSecond: options.inferRate, next }))
      onStep(`${what}: ${delays.perSecond} /s, p50 ${delays.msP50} ms, p99 ${delays.msP99} ms, p99.9 ${delays.msP999} ms`)
      return delays
    }
    const inferJson = await timed('infer, JSON', 64, single.json)
    const inferBinary = await timed('infer, binary', 64, single.binary)
    const thousandClients = await timed(`${clientsAtOnce} clients`, clientsAtOnce, single.json)
    const slow = slowLoad(url)
    const beside = await timed(`beside ${slowClients} slow clients`, 64, single.json)
    const cutOffAfterSeconds = round(await slow.allCutOff, 1)
    onStep(`slow clients were cut off after ${cutOffAfterSeconds} s`)
    const vanished = await vanish(url, inferCall('card-attention', 256, true, prng))
    onStep(`${vanishingClients} clients that went away: ${vanished.openFilesBefore} open files before, ${vanished.openFilesAfter} after`)
    const soak = await soakService(options, url, single)
    const score = options.connections === undefined ? undefined : await scoreUnderStream(options, options.connections)
    return {
      throughput, singleRowsPerSecond: Math.round(singles.answered / seconds), inferJson, inferBinary, thousandClients,
      besideSlowClients: { ...beside, slowClients, cutOffAfterSeconds }, afterVanished: vanished, soak, score,
    }
  } finally {
    await service.stop()
  }
}

interface RunningService {
  readonly url: string
  stop(): Promise<void>
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function startService(args: readonly string[], listenOption = '--listen'): Promise<RunningService> {
  const address = `127.0.0.1:${await freePort()}`
  const child = startHarrier([...args, listenOption, address], { stderr: 'inherit' })
  createInterface({ input: child.stdout! }).on('line', () => undefined)
  const url = `http://${address}`
  const endMs = systemClock.monotonicMs() + readyMsMax
  for (;;) {
    if (await fetch(`${url}/readyz`).then(({ ok }) => ok, () => false)) break
    if (child.exitCode !== null || systemClock.monotonicMs() > endMs) throw new Error(`harrier ${args.join(' ')} is not ready`)
    await systemClock.sleep(100)
  }
  return { url, stop: () => stopProcess(child) }
}

async function metricsOf(url: string): Promise<(name: string) => number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return (name) => [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce((sum, match) => sum + Number(match[1]), 0)
}

/** Clients that send a head and then a byte a second, until the service closes their connections. */
function slowLoad(url: string): { readonly allCutOff: Promise<number> } {
  const startMs = systemClock.monotonicMs()
  const cutOff = Array.from({ length: slowClients }, async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => undefined)
    socket.resume()
    socket.write('POST /v2/models/card-row/infer HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n')
    const stop = systemClock.every(1000, () => socket.write(' '))
    await once(socket, 'close')
    stop()
  })
  return { allCutOff: Promise.all(cutOff).then(() => (systemClock.monotonicMs() - startMs) / 1000) }
}

/** Clients that send a whole request and close their connections without waiting for an answer. */
async function vanish(url: string, { path, headers, body }: Call): Promise<ServeBenchResult['afterVanished']> {
  const openFilesBefore = (await metricsOf(url))('process_open_fds')
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}\r\n`).join('')
  await Promise.all(Array.from({ length: vanishingClients }, async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => undefined)
    socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\n${head}content-length: ${body.length}\r\n\r\n`)
    await new Promise<void>((resolve) => socket.write(body, () => resolve()))
    socket.destroy()
  }))
  await systemClock.sleep(3000)
  const metric = await metricsOf(url)
  return { clients: vanishingClients, waitingRequests: metric('harrier_infer_waiting_requests'), openFilesBefore, openFilesAfter: metric('process_open_fds') }
}

/** JSON and binary requests in turns, with the service's memory and open files by its own metrics. */
async function soakService({ soakSeconds, inferRate, onStep }: ServeBenchOptions, url: string, single: Readonly<Record<'json' | 'binary', () => Call>>): Promise<ServiceMemory[]> {
  const memory: ServiceMemory[] = []
  const pieces = 6
  let turn = 0
  const next = (): Call => (turn++ % 2 === 0 ? single.json() : single.binary())
  for (let piece = 1; piece <= pieces; piece++) {
    await openLoop({ url, seconds: soakSeconds / pieces, warmUpSeconds: 0, connections: 64, perSecond: inferRate, next })
    const metric = await metricsOf(url)
    memory.push({ atSeconds: Math.round((soakSeconds * piece) / pieces), residentBytes: metric('process_resident_memory_bytes'), heapBytes: metric('nodejs_heap_size_used_bytes'), openFiles: metric('process_open_fds') })
    const { atSeconds, residentBytes, heapBytes, openFiles } = memory.at(-1)!
    onStep(`after ${atSeconds} s of load: ${Math.round(residentBytes / 1e6)} MB resident, ${Math.round(heapBytes / 1e6)} MB of heap, ${openFiles} open files`)
  }
  return memory
}

/** `/v1/score` of an engine that has a stream to score besides: each answer is a committed score. */
export async function scoreUnderStream({ scoreRate, streamRate, seconds, onStep }: Pick<ServeBenchOptions, 'scoreRate' | 'streamRate' | 'seconds' | 'onStep'>, connections: Connections): Promise<ScoreDelays> {
  const prng = new Prng(2)
  const namespace = `bench-${uniqueSuffix()}`
  const folder = mkdtempSync(join(tmpdir(), 'harrier-bench-'))
  const file = benchTopology(folder, 'bench-serve', 'card-gru@1')
  const names = topologyNames(loadTopology(file), namespace)
  const connection = connectionArguments(connections)
  const admin = new KafkaAdmin({ brokers: connections.brokers, security: connections.security, clock: systemClock, ...connectLimits(connections) })
  await admin.start()
  const stop: (() => Promise<void>)[] = []
  try {
    // some events first: they make the input topic
    const first = startHarrier(['simulate', '--namespace', namespace, '--events', '20000', '--labels', 'none', '--partitions', '4', ...connection])
    first.stdout!.resume()
    await once(first, 'exit')
    const engine = await startService(['run', '--json', '--topology', file, '--namespace', namespace, '--create-topics', '--instance-id', 'bench', '--serve-models', 'card-row', ...connection], '--serve')
    stop.push(() => engine.stop())
    const source = startHarrier(['simulate', '--namespace', namespace, '--events', String(streamRate * (seconds + 60)), '--rate', String(streamRate), '--labels', 'none', ...connection])
    source.stdout!.resume()
    stop.push(() => stopProcess(source))
    await systemClock.sleep(5000)
    let id = 2_000_000_000
    const next = (): Call => {
      const body = { transaction_id: id++, event_time: systemClock.nowMs(), customer_id: String(prng.below(customers)), terminal_id: String(prng.below(10_000)), amount_minor: 100 + prng.below(50_000), currency: 'EUR' }
      return { path: '/v1/score/bench-serve?timeout_ms=10000', headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) }
    }
    const delays = delaysOf(await openLoop({ url: engine.url, seconds, warmUpSeconds: 5, connections: 256, perSecond: scoreRate, next }))
    onStep(`/v1/score beside ${streamRate} events/s: ${delays.perSecond} /s, p50 ${delays.msP50} ms, p99 ${delays.msP99} ms, p99.9 ${delays.msP999} ms`)
    return { ...delays, streamPerSecond: streamRate }
  } finally {
    for (const each of stop.reverse()) await each()
    await admin.deleteTopics([names.input, ...names.sinks]).catch(() => undefined)
    await admin.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
