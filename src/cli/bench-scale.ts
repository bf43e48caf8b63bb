import { writeFileSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import type { DelayBenchResult } from '../../bench/delay.js'
import type { ScaleAxis, ScaleBenchResult } from '../../bench/scale.js'
import { parseCount } from './parse-options.js'

const axes: readonly ScaleAxis[] = ['entities', 'partitions', 'processes', 'workers', 'hot-key', 'payload']

interface ScaleCommandOptions extends ConnectionOptions {
  axes: ScaleAxis[]
  events: number
  repeats: number
  entitiesMax: number
  svg?: string
  json?: boolean
}

interface DelayCommandOptions extends ConnectionOptions {
  events: number
  seconds: number
  rate: number
  json?: boolean
}

/** `harrier bench scale` and `harrier bench delay` */
export function registerScaleBenches(bench: Command): void {
  const scale = bench
    .command('scale')
    .description('throughput, CPU and memory over entities, partitions, processes, model threads, one hot card and the size of records: one axis at a time, in turns')
    .option('--axes <names>', `some of ${axes.join(',')}`, parseAxes, [...axes])
    .option('--events <n>', 'payments that each run works off, after one of each card', parseCount, 1_000_000)
    .option('--repeats <n>', 'runs of each point; the medians count', parseCount, 3)
    .option('--entities-max <n>', 'most cards of the axis of entities; ten million take about 10 GB', parseCount, 1_000_000)
    .option('--svg <file>', 'also as a picture')
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(scale).action(runScale)
  const delay = bench
    .command('delay')
    .description('delay from a record to the moment when its score can be read, with both kinds of delivery, open loop: at a rate, and at 10, 50 and 90 % of the highest; and what an idle engine costs')
    .option('--events <n>', 'payments that tell the highest rate', parseCount, 1_500_000)
    .option('--seconds <n>', 'length of the run at each rate', parseCount, 20)
    .option('--rate <n>', 'the rate besides, events per second', parseCount, 10_000)
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(delay).action(runDelay)
}

function parseAxes(text: string): ScaleAxis[] {
  const names = text.split(',')
  const unknown = names.find((name) => !(axes as readonly string[]).includes(name))
  if (unknown !== undefined) throw new InvalidArgumentError(`"${unknown}" is none of ${axes.join(', ')}.`)
  return names as ScaleAxis[]
}

const tell = (text: string): void => void process.stderr.write(`${text}\n`)
const whole = (value: number): string => Math.round(value).toLocaleString('en')

async function runScale({ svg, json, ...options }: ScaleCommandOptions): Promise<void> {
  const connections = await resolveConnections(options)
  const [{ benchScale }, { runsText, scaleSvg }] = await Promise.all([import('../../bench/scale.js'), import('../../bench/scale-svg.js')])
  const result = await benchScale({ ...options, connections, onStep: tell })
  if (svg !== undefined) writeFileSync(svg, scaleSvg(result))
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : scaleTable(result, runsText(result.repeats)))
  process.exit(0)
}

function scaleTable({ points }: ScaleBenchResult, runs: string): string {
  const head = `\n${'axis'.padEnd(14)}${'value'.padStart(12)}${'events/s'.padStart(12)}${'of usual'.padStart(10)}${'CPU us/event'.padStart(14)}${'MB resident'.padStart(13)}\n`
  const rows = points.map(
    ({ axis, value, perSecond, ofUsual, cpuMicrosPerEvent, residentBytes }) =>
      `${axis.padEnd(14)}${value.toLocaleString('en').padStart(12)}${whole(perSecond).padStart(12)}${ofUsual.toFixed(2).padStart(10)}${cpuMicrosPerEvent.toFixed(1).padStart(14)}${whole(residentBytes / 1e6).padStart(13)}\n`,
  )
  return `${head}${rows.join('')}usual: 100,000 entities, 4 partitions, 1 process, 1 model thread, no hot card, 100 bytes; ${runs}\n`
}

async function runDelay({ json, rate, ...options }: DelayCommandOptions): Promise<void> {
  const connections = await resolveConnections(options)
  const { benchDelay } = await import('../../bench/delay.js')
  const result = await benchDelay({ ...options, perSecond: rate, connections, onStep: tell })
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : delayTable(result))
  process.exit(0)
}

function delayTable({ highestPerSecond, rates, idleCores }: DelayBenchResult): string {
  const head = `\n${'delivery'.padEnd(14)}${'of the highest'.padEnd(16)}${'events/s'.padStart(10)}${'p50 ms'.padStart(9)}${'p99 ms'.padStart(9)}${'p99.9 ms'.padStart(10)}${'commit p50 ms'.padStart(15)}${'records a batch'.padStart(17)}${'cores'.padStart(8)}\n`
  const ms = (value: number, width = 9): string => value.toFixed(1).padStart(width)
  const rows = rates.map(
    ({ delivery, share, perSecond, msP50, msP99, msP999, commitMsP50, batchRecords, cores }) =>
      `${delivery.padEnd(14)}${(share === null ? 'a rate' : `${share * 100} %`).padEnd(16)}${whole(perSecond).padStart(10)}${ms(msP50)}${ms(msP99)}${ms(msP999, 10)}${ms(commitMsP50, 15)}${whole(batchRecords).padStart(17)}${cores.toFixed(2).padStart(8)}\n`,
  )
  return `${head}${rows.join('')}highest rate ${whole(highestPerSecond)} events/s; idle: ${(idleCores * 100).toFixed(1)} % of a core; from a record's timestamp to the moment when its score can be read\n`
}
