import type { Command } from 'commander'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { HarrierError } from '../base/errors.js'
import type { Delays, ScoreDelays, ServeBenchResult } from '../../bench/serve.js'
import { parseCount } from './parse-options.js'

interface ServeBenchCommandOptions extends ConnectionOptions {
  seconds: number
  repeats: number
  inferRate: number
  scoreRate: number
  streamRate: number
  soakSeconds: number
  stream: boolean
  streamOnly?: boolean
  json?: boolean
}

/** `harrier bench serve` */
export function registerServeBench(bench: Command): void {
  const command = bench
    .command('serve')
    .description('the model service under load from a process beside it: rows/s beside raw onnxruntime, delays by open loops, many, slow and vanishing clients, memory; and /v1/score beside a stream')
    .option('--seconds <n>', 'length of each measurement', parseCount, 10)
    .option('--repeats <n>', 'runs of each throughput, in turns with raw onnxruntime; the medians count', parseCount, 3)
    .option('--infer-rate <n>', 'requests per second of the open loops over infer', parseCount, 1000)
    .option('--score-rate <n>', 'requests per second over /v1/score', parseCount, 1000)
    .option('--stream-rate <n>', 'events per second of the stream beside it', parseCount, 1000)
    .option('--soak-seconds <n>', 'how long memory and open files are watched under load', parseCount, 600)
    .option('--no-stream', 'without a broker, and so without /v1/score')
    .option('--stream-only', '/v1/score beside a stream, and nothing else')
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(command).action(run)
}

async function run({ stream, streamOnly, json, ...options }: ServeBenchCommandOptions): Promise<void> {
  const connections = stream ? await resolveConnections(options) : undefined
  const { benchServe, scoreUnderStream } = await import('../../bench/serve.js')
  const onStep = (text: string): void => void process.stderr.write(`${text}\n`)
  if (streamOnly) {
    if (!connections) throw new HarrierError('USAGE', '--stream-only with --no-stream measures nothing', { remedy: 'leave one of them out' })
    const score = await scoreUnderStream({ ...options, onStep }, connections)
    process.stdout.write(json ? `${JSON.stringify({ score })}\n` : `${scoreRow(score).join('   ')}\n`)
    process.exit(0)
  }
  const result = await benchServe({ ...options, connections, onStep })
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : table(result))
  process.exit(0)
}

const whole = (value: number): string => value.toLocaleString('en')

function delays({ perSecond, msP50, msP99, msP999, others }: Delays): string {
  const failed = Object.entries(others).map(([status, count]) => `, ${count} × ${status}`).join('')
  return `${whole(perSecond)} /s   p50 ${msP50} ms, p99 ${msP99} ms, p99.9 ${msP999} ms${failed}`
}

function scoreRow(score: ScoreDelays): [string, string] {
  return [`/v1/score beside ${whole(score.streamPerSecond)} events/s`, delays(score)]
}

function table(result: ServeBenchResult): string {
  const megabytes = (bytes: number): string => `${whole(Math.round(bytes / 1e6))} MB`
  const { throughput, score, besideSlowClients, afterVanished, soak } = result
  const [first, last] = [soak[0]!, soak.at(-1)!]
  const rows: [string, string][] = [
    ...throughput.map(({ model, rowsOfRequest, rawRowsPerSecond, binaryRowsPerSecond, binaryShareOfRaw, jsonRowsPerSecond, binaryCpuMicrosPerRow, rawCpuMicrosPerRow }): [string, string] => [
      `${model}, ${whole(rowsOfRequest)} rows a request`,
      `raw onnxruntime ${whole(rawRowsPerSecond)} rows/s, infer ${whole(binaryRowsPerSecond)} (${binaryShareOfRaw} of it), in JSON ${whole(jsonRowsPerSecond)}; CPU us a row: ${rawCpuMicrosPerRow} and ${binaryCpuMicrosPerRow}`,
    ]),
    ['card-row, single rows, 64 clients', `${whole(result.singleRowsPerSecond)} /s`],
    ['infer, JSON', delays(result.inferJson)],
    ['infer, binary', delays(result.inferBinary)],
    ['infer, JSON, 1,000 clients', delays(result.thousandClients)],
    [`beside ${besideSlowClients.slowClients} slow clients`, `${delays(besideSlowClients)}; they were cut off after ${besideSlowClients.cutOffAfterSeconds} s`],
    [`${afterVanished.clients} clients that went away`, `${afterVanished.waitingRequests} requests left waiting, ${afterVanished.openFilesBefore} open files before and ${afterVanished.openFilesAfter} after`],
    [
      `${whole(last.atSeconds)} s of load`,
      `${megabytes(first.residentBytes)} resident after ${first.atSeconds} s, ${megabytes(last.residentBytes)} at the end; heap ${megabytes(first.heapBytes)} and ${megabytes(last.heapBytes)}; open files ${first.openFiles} and ${last.openFiles}`,
    ],
    ...(score ? [scoreRow(score)] : []),
  ]
  return `\n${rows.map(([name, value]) => `${name.padEnd(36)}${value}`).join('\n')}\n`
}
