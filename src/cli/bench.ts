import type { Command } from 'commander'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import type { PipelineBenchResult } from '../../bench/pipeline.js'
import { parseCount } from './parse-options.js'

interface BenchOptions extends ConnectionOptions {
  events: number
  repeats: number
  delaySeconds: number
  json?: boolean
}

/** `harrier bench pipeline` */
export function register(program: Command): void {
  const bench = program.command('bench').description('measure on this machine, beside what the same machine does without us')
  const pipeline = bench
    .command('pipeline')
    .description('raw onnxruntime, raw exactly-once copy and the whole pipeline, interleaved on one broker')
    .option('--events <n>', 'transactions in the topic', parseCount, 300_000)
    .option('--repeats <n>', 'runs of each; the medians count', parseCount, 3)
    .option('--delay-seconds <n>', 'length of the delay run', parseCount, 15)
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(pipeline).action(runPipelineBench)
}

async function runPipelineBench(options: BenchOptions): Promise<void> {
  const { brokers, registryUrl } = await resolveConnections(options)
  // Loaded when asked for: the benches are beside the engine, not in it.
  const module = await import('../../bench/pipeline.js')
  const result = await module.benchPipeline({ ...options, brokers, registryUrl, onStep: (text) => process.stderr.write(`${text}\n`) })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : table(result))
  process.exit(0)
}

function table(result: PipelineBenchResult): string {
  const rate = (value: number): string => value.toLocaleString('en').padStart(11)
  const row = (name: string, perSecond: number, cpu: number | undefined, ratio: string): string =>
    `${name.padEnd(36)}${rate(perSecond)}${(cpu === undefined ? '' : cpu.toFixed(1)).padStart(14)}  ${ratio}\n`
  return [
    `\n${''.padEnd(36)}${'events/s'.padStart(11)}${'CPU us/event'.padStart(14)}  ratio\n`,
    row('raw onnxruntime, card-gru step', result.rawOnnxGruPerSecond, undefined, ''),
    row('raw exactly-once copy', result.rawCopyPerSecond, result.rawCopyCpuMicrosPerEvent, ''),
    row('pipeline, card-gru', result.pipelinePerSecond, result.pipelineCpuMicrosPerEvent, `${result.ratioToRawCopy} of the raw copy`),
    row('raw onnxruntime, card-attention', result.rawOnnxAttentionPerSecond, undefined, ''),
    row('pipeline, card-attention', result.attentionPerSecond, result.attentionCpuMicrosPerEvent, `${result.ratioToRawOnnx} of raw onnxruntime`),
    `\ndelay at ${result.delayAtPerSecond.toLocaleString('en')} events/s, record to commit of its score: `,
    `p50 ${result.delayMsP50} ms, p99 ${result.delayMsP99} ms, p99.9 ${result.delayMsP999} ms\n`,
    `medians of ${result.repeats} interleaved runs over ${result.events.toLocaleString('en')} events\n`,
  ].join('')
}
