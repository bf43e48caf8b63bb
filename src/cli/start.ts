import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { DevicePolicy } from '../inference/device.js'
import { addConnectionOptions, configuredConnections, type ConnectionOptions, type Connections } from '../stack/connections.js'
import { LocalStack } from '../stack/local-stack.js'
import { loadTopology } from '../topology/load-topology.js'
import { parseCount, parseDevice } from './parse-options.js'
import { terminalProgress } from './terminal-progress.js'
import { newDemoNamespace, removeEarlierDemos } from './view/demo-namespace.js'
import { planDemo, type DemoPlan } from './view/demo-plan.js'
import { renderDemo } from './view/demo-screen.js'
import { isClean, resultAsJson, summaryLines } from './view/demo-summary.js'
import { Demo, type DemoResult } from './view/demo.js'
import { openDemoPage } from './view/demo-page.js'
import type { Serving } from './service-options.js'
import { LiveScreen } from './view/live-screen.js'
import { plainLines } from './view/plain-lines.js'
import { drawPublishedTable } from './view/published-table.js'
import { wantsColours } from './view/styled-line.js'

const defaults = {
  perSecond: 500,
  /** With --events: the paced part takes well under a minute. */
  perSecondWithEvents: 5_000,
  pacedSecondsMax: 30,
  historyDays: 30,
} as const
const plainLineMs = 2_000
const pageCloseMsMax = 500
/** Two signals within this are one Ctrl-C: npm passes on what its terminal has sent to us already. */
const sameSignalMs = 1_000

interface StartOptions extends ConnectionOptions {
  events?: number
  rate?: number
  fastForward: number
  killAfter?: number
  device?: DevicePolicy
  page: boolean
  plain?: boolean
  json?: boolean
}

/** `harrier start`, which is `npm start`. */
export function register(program: Command): void {
  const command = program
    .command('start')
    .description('see it work: a local broker, simulated card payments, the engine, and a live view with the key k to kill it')
    .option('--events <n>', 'end after so many transactions (default: go on until Ctrl-C)', parseCount)
    .option('--rate <n>', `transactions per second after the fast-forward (default: ${defaults.perSecond}; with --events ${defaults.perSecondWithEvents} or more)`, parseCount)
    .option('--fast-forward <days>', 'days of history that go first, at full speed; with --events at most half of them', parseCount, defaults.historyDays)
    .option('--kill-after <n>', 'kill the engine with SIGKILL after so many scores, to show that nothing is lost', parseCount)
    .option('--device <policy>', 'cpu, webgpu, cuda or auto (default: what the topology says)', parseDevice)
    .option('--no-page', 'no page for a browser; without it the page is on 127.0.0.1, at the first free port from 8080 on (none with --json)')
    .option('--plain', 'lines instead of a screen, also on a terminal')
    .option('--json', 'one line of JSON at the end, and nothing else on standard output')
  addConnectionOptions(command).action(start)
}

async function start(options: StartOptions): Promise<void> {
  const leaving = new AbortController()
  const stopSignals = onSignals(() => leaving.abort())
  // A reader of our output that has gone away must not end us before the engine is stopped.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => leaving.abort())
  let code = 1
  try {
    code = await startUntil(options, leaving.signal, () => leaving.abort())
  } finally {
    stopSignals()
  }
  await flushed()
  // The Kafka clients may keep threads for a while; all that matters has been stopped.
  process.exit(code)
}

/** Returns the exit code. */
async function startUntil(options: StartOptions, signal: AbortSignal, leave: () => void): Promise<number> {
  const say = options.json ? process.stderr : process.stdout
  const screen = process.stdout.isTTY === true && !options.json && !options.plain && process.env.TERM !== 'dumb'
  const progress = terminalProgress(say, systemClock)
  const topology = loadTopology('card-fraud')
  const prepared = await unlessAborted(signal, prepare(options, signal, progress.onProgress))
  progress.end()
  if (!prepared) return leftEarly(say)
  const { connections, table } = prepared
  const plan = planDemo(table, { events: options.events, historyDays: options.fastForward })
  const demo = new Demo({
    connections,
    topology,
    table,
    namespace: newDemoNamespace(systemClock.nowMs()),
    plan,
    perSecond: options.rate ?? (options.events === undefined ? defaults.perSecond : paceFor(plan)),
    killAfter: options.killAfter,
    engineArgs: options.device === undefined ? [] : ['--device', options.device],
    clock: systemClock,
  })
  signal.addEventListener('abort', () => demo.leave(), { once: true })
  if (signal.aborted) demo.leave()
  let stopShowing = (): void => undefined
  let page: Promise<Serving | string> | undefined
  let result: DemoResult
  try {
    result = await demo.run(
      (text) => progress.onProgress(text, 'step'),
      () => {
        const shown: Shown = { page: '' }
        stopShowing = screen ? showScreen(demo, shown, leave) : showLines(demo, say)
        if (options.json || options.page === false) return
        page = openDemoPage({ demo, topology, connections, namespace: demo.namespace, clock: systemClock })
        void page.then((opened) => {
          shown.page = typeof opened === 'string' ? '' : opened.service.url
          if (!screen) say.write(typeof opened === 'string' ? `no page: ${opened}\n` : `page ${opened.service.url}\n`)
        })
      },
    )
  } finally {
    stopShowing()
    const opened = await page
    // What is left of it ends with the process.
    if (opened !== undefined && typeof opened !== 'string') await Promise.race([opened.close(), systemClock.sleep(pageCloseMsMax)])
  }
  return conclude(result, { demo, connections, options, say })
}

function conclude(result: DemoResult, { demo, connections, options, say }: { demo: Demo; connections: Connections; options: StartOptions; say: NodeJS.WriteStream }): number {
  if (result.death) {
    process.stderr.write(`harrier: the engine ended by itself ${result.death.how}; its last lines:\n`)
    for (const line of result.death.lastLines) process.stderr.write(`  ${line}\n`)
  }
  if (result.state.produced === 0 && !result.death) return leftEarly(say)
  if (options.json) process.stdout.write(`${JSON.stringify(resultAsJson(result))}\n`)
  else say.write(`\n${summaryLines(result, connections, { columns: say.isTTY ? (say.columns ?? 80) : Infinity, harrier: ownName() }).join('\n')}\n`)
  if (result.death || !isClean(result)) return 1
  if (options.events === undefined || result.complete) return 0
  say.write(`stopped before all ${options.events.toLocaleString('en')} events; the topics are ${demo.names.group.replace(/\.[^.]*$/, '')}.*\n`)
  return 130
}

/** How the reader calls Harrier from here: after `npm start` it is not on the path. */
function ownName(): string {
  return process.env.npm_lifecycle_event === undefined ? 'harrier' : 'npx harrier'
}

function leftEarly(say: NodeJS.WriteStream): number {
  say.write(`stopped before the first transaction; what runs of the stack goes on: ${ownName()} stack status, ${ownName()} stack down\n`)
  return 130
}

interface Prepared {
  readonly connections: Connections
  readonly table: Awaited<ReturnType<typeof drawPublishedTable>>
}

/** Broker, registry and the transactions to send: the slow things at once. */
async function prepare(options: StartOptions, signal: AbortSignal, onProgress: (text: string, kind: 'step' | 'tick') => void): Promise<Prepared> {
  const configured = configuredConnections(options)
  onProgress('drawing 183 days of card transactions', 'step')
  const drawing = drawPublishedTable(signal)
  drawing.catch(() => undefined)
  const connections = configured ?? (await localConnections(onProgress))
  return { connections, table: await drawing }
}

async function localConnections(onProgress: (text: string, kind: 'step' | 'tick') => void): Promise<Connections> {
  const { mode, brokers, registryUrl, changed } = await new LocalStack().up(onProgress)
  const connections: Connections = { brokers, registryUrl, source: mode === 'docker' ? 'docker' : 'local' }
  onProgress(`broker ${brokers} and registry ${registryUrl} ${changed ? 'are up' : 'were up already'}`, 'step')
  const removed = await removeEarlierDemos(connections, {
    nowMs: systemClock.nowMs(),
    logger: { log: (_level, message, fields) => onProgress(`${message}: ${messageOf(fields?.cause)}`, 'step') },
  })
  if (removed > 0) onProgress(`removed the topics of ${removed === 1 ? 'an earlier demo' : `${removed} earlier demos`}`, 'step')
  return connections
}

function paceFor({ pacedRow, endRow }: DemoPlan): number {
  return Math.max(defaults.perSecondWithEvents, Math.ceil((endRow - pacedRow) / defaults.pacedSecondsMax))
}

/** What a screen shows beside the demonstration's own numbers. */
interface Shown {
  /** URL of the page; empty: there is none. */
  page: string
}

function showScreen(demo: Demo, shown: Shown, leave: () => void): () => void {
  const coloured = wantsColours(process.stdout)
  const screen = new LiveScreen({
    input: process.stdin,
    output: process.stdout,
    clock: systemClock,
    render: (size) => renderDemo(demo.state(), size, coloured, shown.page),
    onKey: (key) => {
      if (key === 'k') demo.kill()
      if (key === 'q') leave()
    },
  })
  return () => screen.close()
}

function showLines(demo: Demo, say: NodeJS.WriteStream): () => void {
  let alertsBefore = 0
  return systemClock.every(plainLineMs, () => {
    const state = demo.state()
    for (const line of plainLines(state, alertsBefore)) say.write(`${line}\n`)
    alertsBefore = state.alerts
  })
}

/** The result, or undefined as soon as the signal fires; what the work does after that is of no interest. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  const aborted = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined)
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  return await Promise.race([work, aborted])
}

/** Ctrl-C, SIGTERM and a closed terminal ask to leave; asked again later, the process ends at once. */
function onSignals(leave: () => void): () => void {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  let firstMs: number | undefined
  const onSignal = (): void => {
    firstMs ??= systemClock.monotonicMs()
    if (systemClock.monotonicMs() - firstMs > sameSignalMs) process.exit(130)
    leave()
  }
  for (const name of names) process.on(name, onSignal)
  return () => {
    for (const name of names) process.off(name, onSignal)
  }
}

async function flushed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writable) await new Promise<void>((resolve) => stream.write('', () => resolve()))
  }
}
