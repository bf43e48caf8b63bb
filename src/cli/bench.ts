import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import type { EnergyFigure } from '../base/energy-meter.js'
import type { Device } from '../inference/device.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology } from '../topology/load-topology.js'
import type { BacktestBenchResult } from '../../bench/backtest.js'
import type { CheckpointBenchResult, CheckpointRun } from '../../bench/checkpoint.js'
import type { PipelineBenchResult } from '../../bench/pipeline.js'
import type { ReasonsBenchResult } from '../../bench/reasons.js'
import type { ReleaseBenchResult } from '../../bench/releases.js'
import type { RestoreBenchResult } from '../../bench/restore.js'
import type { TakeOverBenchResult } from '../../bench/take-over.js'
import { registerScaleBenches } from './bench-scale.js'
import { registerServeBench } from './bench-serve.js'
import { parseCount } from './parse-options.js'

interface BenchOptions extends ConnectionOptions {
  events: number
  repeats: number
  delaySeconds: number
  cpuProf?: string
  json?: boolean
}

/** `harrier bench` */
export function register(program: Command): void {
  const bench = program.command('bench').description('measure on this machine, beside what the same machine does without us')
  const pipeline = bench
    .command('pipeline')
    .description('raw onnxruntime, raw exactly-once copy and the whole pipeline, interleaved on one broker')
    .option('--events <n>', 'transactions in the topic', parseCount, 300_000)
    .option('--repeats <n>', 'runs of each; the medians count', parseCount, 3)
    .option('--delay-seconds <n>', 'length of the delay run', parseCount, 15)
    .option('--cpu-prof <folder>', 'profile the pipelines (read with Chrome or speedscope)')
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(pipeline).action(runPipelineBench)
  const restore = cardOptions(bench.command('restore').description('kill an engine with the state of many cards, and time its return from the changelog'), 1_000_000)
    .option('--repeats <n>', 'kills; the medians count', parseCount, 3)
    .option('--load-seconds <n>', 'load before each kill', parseCount, 30)
    .option('--cpu-prof <folder>', 'profile the engine that restores (read with Chrome or speedscope)')
  addConnectionOptions(restore).action(runRestoreBench)
  const takeOver = cardOptions(bench.command('take-over').description('kill one of two engines with standby copies of each other, and time until the other scores its partitions'), 1_000_000)
    .option('--repeats <n>', 'kills; the medians count', parseCount, 3)
    .option('--load-seconds <n>', 'load before each kill', parseCount, 30)
  addConnectionOptions(takeOver).action(runTakeOverBench)
  const checkpoint = cardOptions(bench.command('checkpoint').description('what the checkpoint costs and writes: on against off, in turns'), 200_000)
    .option('--repeats <n>', 'runs of each; the medians count', parseCount, 3)
    .option('--events <n>', 'payments that each run works off', parseCount, 600_000)
    .option('--rate-seconds <n>', 'length of each run at the rate', parseCount, 20)
  addConnectionOptions(checkpoint).action(runCheckpointBench)
  const releases = cardOptions(bench.command('releases').description('releases and rollbacks in turns under load: lost, doubled and mis-versioned events, time until in force, delay, memory; exit code 1 when a claim fails'), 5000, 1000)
    .option('--releases <n>', 'of both together', parseCount, 100)
  addConnectionOptions(releases).action(runReleaseBench)
  bench
    .command('device')
    .description('the whole acceptance of a GPU: scores as on the CPU, crossover, speed, what auto takes; exit code 1 when a claim fails')
    .option('--topology <name>', 'whose models: a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--models <folder>', 'folder of model versions (default: models/ of Harrier)')
    .addOption(new Option('--device <device>', 'only this one (default: every GPU provider that is here)').choices(['webgpu', 'cuda']))
    .option('--seconds <n>', 'length of each run for speed', parseCount, 5)
    .option('--out <folder>', 'where device.json and device.md go', 'device-results')
    .option('--json', 'the result as one line of JSON at the end')
    .action(runDeviceBench)
  bench
    .command('reasons')
    .description('what the reasons of alerts cost: each model of a topology as champion, with and without, in turns; needs no broker')
    .option('--topology <name>', 'whose models: a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--models <folder>', 'folder of model versions (default: models/ of Harrier)')
    .option('--events <n>', 'simulated payments', parseCount, 100_000)
    .option('--repeats <n>', 'runs of each; the medians count', parseCount, 3)
    .option('--json', 'the result as one line of JSON at the end')
    .action(runReasonsBench)
  bench
    .command('backtest')
    .description('backtests of the published data set: window models in turns with raw onnxruntime, and both stages of card-terminal; needs no broker')
    .option('--from <table>', 'a .csv or .parquet of `harrier simulate` (default: drawn anew)')
    .option('--models <names>', 'window models of card-fraud, or peer-gru-window@1 of bench/peers', 'card-attention@1,peer-gru-window@1')
    .option('--repeats <n>', 'runs of each; the medians count', parseCount, 5)
    .option('--json', 'the result as one line of JSON at the end')
    .action(runBacktestBench)
  registerScaleBenches(bench)
  registerServeBench(bench)
}

async function runReasonsBench({ topology, json, ...options }: { topology: string; models?: string; events: number; repeats: number; json?: boolean }): Promise<void> {
  const { benchReasons } = await import('../../bench/reasons.js')
  const result = await benchReasons({ topology: loadTopology(topology), ...options, onStep: tell })
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : reasonsTable(result))
  process.exit(0)
}

function reasonsTable({ models, events, repeats }: ReasonsBenchResult): string {
  const whole = (value: number): string => Math.round(value).toLocaleString('en')
  const head = ['champion', 'alerts', 'events/s without', 'with reasons', 'us an explained event', 'extra rows', 'first reason as with 16 pairs', 'difference']
  const cells = models.map((each) => [
    each.model, `${(each.alertShare * 100).toFixed(2)} %`, whole(each.perSecondOff), whole(each.perSecondOn), whole(each.microsPerExplained), whole(each.extraRowsPerExplained),
    `${(each.firstReasonAgrees * 100).toFixed(0)} %`, `${(each.contributionError * 100).toFixed(0)} %`,
  ])
  const line = (row: readonly string[]): string => row.map((cell, column) => (column === 0 ? cell.padEnd(20) : cell.padStart(Math.max(head[column]!.length, 8) + 2))).join('')
  return `\n${[head, ...cells].map(line).join('\n')}\nmedians of ${repeats} runs in turns over ${whole(events)} simulated payments, one scoring thread\n`
}

async function runBacktestBench({ from, models, repeats, json }: { from?: string; models: string; repeats: number; json?: boolean }): Promise<void> {
  const { benchBacktest } = await import('../../bench/backtest.js')
  const result = await benchBacktest({ from, models: models.split(','), repeats, onStep: tell })
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : backtestTable(result))
  process.exit(0)
}

function backtestTable({ models, bothStagesSeconds }: BacktestBenchResult): string {
  const whole = (values: readonly number[]): string => values.map((value) => Math.round(value).toLocaleString('en')).join(', ')
  const lines = models.flatMap(({ model, events, rawPerSecond, eventsPerSecond, share }) => [
    [`${model}, raw on a core alone`, `${whole(rawPerSecond)} windows/s`],
    [`${model}, ${whole([events])} events`, `${whole(eventsPerSecond)} events/s`],
    ['  of the raw rate', `${share.toFixed(2)}, median of the pairs`],
  ])
  const rows = [...lines, ['both stages, start to report', `${bothStagesSeconds.map((seconds) => seconds.toFixed(1)).join(', ')} s`]]
  return `\n${rows.map(([name, value]) => `${name!.padEnd(40)}${value!}`).join('\n')}\n`
}

interface DeviceOptions {
  topology: string
  models?: string
  device?: Device
  seconds: number
  out: string
  json?: boolean
}

async function runDeviceBench({ device, out, json, ...options }: DeviceOptions): Promise<void> {
  const topology = loadTopology(options.topology)
  const [{ benchDevice }, { deviceMarkdown }] = await Promise.all([import('../../bench/device.js'), import('../../bench/device-table.js')])
  const result = await benchDevice({ topology, models: options.models, devices: device && [device], seconds: options.seconds, onStep: tell })
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'device.json'), `${JSON.stringify(result, null, 2)}\n`)
  writeFileSync(join(out, 'device.md'), deviceMarkdown(result))
  const lines = result.claims.map(({ claim, passed, detail }) => `${passed ? 'ok    ' : 'FAILED'}  ${claim}: ${detail}`)
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : `${lines.join('\n')}\n\n${deviceMarkdown(result)}\nwritten: ${join(out, 'device.json')}, ${join(out, 'device.md')}\n`)
  process.exit(result.passed ? 0 : 1)
}

interface CardOptions extends ConnectionOptions {
  cards: number
  rate: number
  exponent: number
  json?: boolean
}

/** What the benches of a state of many cards share. */
function cardOptions(command: Command, cards: number, rate = 10_000): Command {
  return command
    .option('--cards <n>', 'entities, each with a full ring, windows and a hidden state', parseCount, cards)
    .option('--rate <n>', 'payments per second', parseCount, rate)
    .option('--exponent <s>', 'of Zipf\'s law, which chooses the card of a payment', Number, 1)
    .option('--json', 'the result as one line of JSON at the end')
}

async function runRestoreBench(options: CardOptions & { repeats: number; loadSeconds: number; cpuProf?: string }): Promise<void> {
  const connections = await resolveConnections(options)
  const module = await import('../../bench/restore.js')
  const nodeArgs = options.cpuProf === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', options.cpuProf]
  const result = await module.benchRestore({ ...options, perSecond: options.rate, nodeArgs, connections, onStep: tell })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : restoreTable(result))
  process.exit(0)
}

async function runTakeOverBench(options: CardOptions & { repeats: number; loadSeconds: number }): Promise<void> {
  const connections = await resolveConnections(options)
  const module = await import('../../bench/take-over.js')
  const result = await module.benchTakeOver({ ...options, perSecond: options.rate, connections, onStep: tell })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : takeOverTable(result))
  process.exit(0)
}

async function runReleaseBench(options: CardOptions & { releases: number }): Promise<void> {
  const connections = await resolveConnections(options)
  const module = await import('../../bench/releases.js')
  const result = await module.benchReleases({ ...options, perSecond: options.rate, connections, onStep: tell })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : releaseTable(result))
  process.exit(result.lost + result.doubled + result.misversioned > 0 ? 1 : 0)
}

function releaseTable(result: ReleaseBenchResult): string {
  const spread = ({ p50, max }: { p50: number; max: number }): string => `median ${p50} ms, longest ${max} ms`
  const delays = ({ p50, p99, p999, events, over100 }: ReleaseBenchResult['quiet']): string =>
    `p50 ${p50} ms, p99 ${p99} ms, p99.9 ${p999} ms; ${over100.toLocaleString('en')} of ${events.toLocaleString('en')} events over 100 ms`
  return rows([
    ['releases and rollbacks', `${result.releases} in ${result.seconds} s, at ${result.eventsPerSecond.toLocaleString('en')} events/s`],
    ['events', result.events.toLocaleString('en')],
    ['lost, doubled, mis-versioned', `${result.lost}, ${result.doubled}, ${result.misversioned}`],
    ['rollback, call to in force', spread(result.rollbackMs)],
    ['  of it until the models are open', spread(result.rollbackOpenMs)],
    ['release, call to in force', spread(result.releaseMs)],
    ['  of it until the models are open', spread(result.releaseOpenMs)],
    ['frames wait for the turn', spread(result.switchMs)],
    ['delay without releases', delays(result.quiet)],
    ['delay with releases', delays(result.releasing)],
    ['resident memory without state', `${megabytes(result.bytesSettled)} after 20 of them, ${megabytes(result.bytesEnd)} at the end`],
  ])
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}

async function runCheckpointBench(options: CardOptions & { repeats: number; events: number; rateSeconds: number }): Promise<void> {
  const connections = await resolveConnections(options)
  const module = await import('../../bench/checkpoint.js')
  const result = await module.benchCheckpoint({ ...options, perSecond: options.rate, connections, onStep: tell })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : checkpointTable(result))
  process.exit(0)
}

function checkpointTable({ on, off, ...result }: CheckpointBenchResult): string {
  const run = (name: string, { perSecond, cpuMicrosPerEvent, delayMsP50, delayMsP99, delayMsP999 }: CheckpointRun): string =>
    `${name.padEnd(36)}${perSecond.toLocaleString('en').padStart(10)}${cpuMicrosPerEvent.toFixed(1).padStart(15)}   p50 ${delayMsP50} ms, p99 ${delayMsP99} ms, p99.9 ${delayMsP999} ms\n`
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
  return [
    `\n${''.padEnd(36)}${'events/s'.padStart(10)}${'CPU us/event'.padStart(15)}   delay at ${result.eventsPerSecond.toLocaleString('en')} events/s\n`,
    run('checkpoint on', on),
    run('checkpoint off', off),
    rows([
      ['cost', `${percent(result.throughputCost)} of the throughput, ${percent(result.cpuCost)} more CPU for each event`],
      ['changelog for each payment', `${result.changelogBytesPerEvent.toLocaleString('en')} bytes at the rate, ${result.changelogBytesPerEventAtFullSpeed.toLocaleString('en')} at full speed`],
      ['with a record for each payment', `${result.recordPerEventBytesPerEvent.toLocaleString('en')} bytes, ${result.savedFactor} times as much as at the rate`],
      ['cards and load', `${result.cards.toLocaleString('en')}, Zipf ${result.exponent}; medians of ${result.repeats} interleaved runs`],
    ]),
  ].join('')
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString('en')} MB`
}

function takeOverTable(result: TakeOverBenchResult): string {
  return rows([
    ['cards', `${result.cards.toLocaleString('en')}, half of them of the process that dies`],
    ['load', `${result.eventsPerSecond.toLocaleString('en')} payments/s, Zipf ${result.exponent}`],
    ['SIGKILL to the notice of the group', `${result.noticedSeconds} s`],
    ['notice to a score of all of them', `${result.afterNoticeSeconds} s`],
    ['SIGKILL to the first new score', `${result.firstScoreSeconds} s`],
    ['to a new score of every partition', `${result.allPartitionsSeconds} s`],
    ['input folded again', `${result.tailRecords.toLocaleString('en')} records`],
    ['memory of the survivor', `${megabytes(result.residentBytes)} resident, ${megabytes(result.stateBytes)} of it state`],
    ['kills', result.repeats.toLocaleString('en')],
  ])
}

function restoreTable(result: RestoreBenchResult): string {
  return rows([
    ['cards', `${result.cards.toLocaleString('en')}, ${result.bytesPerCard.toLocaleString('en')} bytes each on the changelog`],
    ['load', `${result.eventsPerSecond.toLocaleString('en')} payments/s, Zipf ${result.exponent}`],
    ['SIGKILL to the first new score', `${result.firstScoreSeconds} s`],
    ['to a new score of every partition', `${result.allPartitionsSeconds} s`],
    ['to all that came meanwhile scored', `${result.caughtUpSeconds} s`],
    ['changelog read', `${result.changelogRecords.toLocaleString('en')} records, ${megabytes(result.changelogBytes)}: ${result.recordsPerSecond.toLocaleString('en')} records/s, ${result.megabytesPerSecond} MB/s`],
    ['input folded again', `${result.tailRecords.toLocaleString('en')} records`],
    ['memory', `${megabytes(result.residentBytes)} resident, ${megabytes(result.stateBytes)} of it state`],
    ['memory computed', `${megabytes(result.computedBytes)} of slots; 1.3 times that and 200 MB are ${megabytes(result.residentBytesMax)}: ${result.residentBytes <= result.residentBytesMax ? 'resident memory keeps to it' : 'resident memory EXCEEDS it'}`],
    ['kills', result.repeats.toLocaleString('en')],
  ])
}

function rows(cells: readonly (readonly [string, string])[]): string {
  return `\n${cells.map(([name, value]) => `${name.padEnd(36)}${value}`).join('\n')}\n`
}

async function runPipelineBench(options: BenchOptions): Promise<void> {
  const connections = await resolveConnections(options)
  // Loaded when asked for: the benches are beside the engine, not in it.
  const module = await import('../../bench/pipeline.js')
  const result = await module.benchPipeline({ ...options, connections, onStep: (text) => process.stderr.write(`${text}\n`) })
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
    `\na million scores: ${energyText('card-gru', result.pipelineCpuMicrosPerEvent, result.energy)}; ${energyText('card-attention', result.attentionCpuMicrosPerEvent, result.energy)}\n`,
    `delay at ${result.delayAtPerSecond.toLocaleString('en')} events/s, record to commit of its score: `,
    `p50 ${result.delayMsP50} ms, p99 ${result.delayMsP99} ms, p99.9 ${result.delayMsP999} ms\n`,
    `medians of ${result.repeats} interleaved runs over ${result.events.toLocaleString('en')} events\n`,
  ].join('')
}

/** A microsecond of CPU for a score is a second for a million. */
function energyText(model: string, cpuSeconds: number, { joulesPerCoreSecond, source }: EnergyFigure): string {
  const how = source === 'rapl' ? 'measured by RAPL' : `by the model of ${joulesPerCoreSecond} W a core`
  return `${model} ${cpuSeconds.toFixed(1)} CPU seconds, ${(cpuSeconds * joulesPerCoreSecond).toFixed(0)} J ${how}`
}
