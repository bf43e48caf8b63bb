import { connectionArguments, type Connections } from '../../stack/connections.js'
import type { DemoResult } from './demo.js'
import type { DemoState } from './demo-state.js'
import { count, milliseconds, sum } from './figures.js'
import { wrap } from './word-wrap.js'

/** Nothing lost, nothing doubled, nothing from nowhere. */
export function isClean({ state }: DemoResult): boolean {
  return state.missing === 0 && state.duplicates === 0 && state.unexpected === 0
}

/** The one line of `harrier start --json`. */
export function resultAsJson(result: DemoResult): Record<string, unknown> {
  const { state, eventsPerSecond, delayMs, complete, seconds } = result
  const { produced, scored, alerts, deadLetters, missing, duplicates, unexpected, fraudsDeclined, falseAlerts, kills, waiting } = state
  const rounded = (value: number): number | null => (Number.isNaN(value) ? null : Number(value.toFixed(2)))
  return {
    produced,
    scored,
    alerts,
    deadLetters,
    missing,
    duplicates,
    eventsPerSecond,
    delayMsP50: rounded(delayMs.p50),
    delayMsP99: rounded(delayMs.p99),
    unexpected,
    unscored: waiting,
    frauds: sum(state.frauds),
    fraudsCaught: sum(state.fraudsCaught),
    fraudsDeclined,
    falseAlerts,
    kills,
    seconds: rounded(seconds),
    complete,
    namespace: state.namespace,
  }
}

export interface SummaryForm {
  readonly columns: number
  /** How the reader calls Harrier: `npx harrier` after `npm start`. */
  readonly harrier: string
}

/** What happened and what to try next, the reader's own cluster first; in lines that fit. */
export function summaryLines(result: DemoResult, connections: Connections, { columns, harrier }: SummaryForm): string[] {
  const { state } = result
  const { namespace, topology } = state
  // The local stack is found without being named; no secret is among these.
  const there = connections.source === 'configured' ? connectionArguments(connections).map((word) => ` ${shellWord(word)}`).join('') : ''
  const own = there === '' ? ' --brokers HOST:PORT --registry URL' : there
  const next: readonly (readonly [what: string, command: string])[] = [
    ['The engine on your own cluster', `${harrier} run${own} --topology FILE`],
    ['The topology of this demo, to begin yours with', `${harrier} topology describe ${topology}`],
    ['The alerts of this run', `${harrier} tail alerts --namespace ${namespace}${there}`],
    ['What each transaction read, and which models scored it', `${harrier} tail lineage --namespace ${namespace}${there}`],
    ['What was found on this machine', `${harrier} doctor${there}`],
  ]
  return [
    ...[...scoreLines(result), ...alertLines(state)].flatMap((line) => wrap(line, columns, '  ')),
    '',
    'Try next',
    ...next.flatMap(([what, command]) => [`  ${what}`, `    ${command}`]),
    '',
    connections.source === 'configured' ? `The topics ${namespace}.* stay on ${connections.brokers}.` : `Broker and registry go on running at ${connections.brokers}. To stop them:`,
    ...(connections.source === 'configured' ? [] : [`    ${harrier} stack down`]),
  ]
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

function scoreLines({ state, eventsPerSecond, delayMs, seconds }: DemoResult): string[] {
  const { produced, scored, missing, duplicates, unexpected, waiting, kills, namespace } = state
  const rate = eventsPerSecond > 0 ? `, ${count(eventsPerSecond)} events/s with the fast-forward` : ''
  const killed = kills === 0 ? '' : `, with the engine killed ${kills === 1 ? 'once' : `${count(kills)} times`}`
  const lines = [`${count(scored)} of ${count(produced)} transactions scored in ${seconds.toFixed(0)} s${rate}`, `missing ${count(missing)}, duplicates ${count(duplicates)}${killed}`]
  if (unexpected > 0) lines.push(`${count(unexpected)} outputs of transactions that were never produced`)
  if (waiting > 0) lines.push(`${count(waiting)} had no score yet when the engine stopped; they wait on ${namespace}.*`)
  if (!Number.isNaN(delayMs.p50)) lines.push(`delay p50 ${milliseconds(delayMs.p50)}, p99 ${milliseconds(delayMs.p99)}, from the transaction's record to its score in a reader's hands`)
  return lines
}

/** Frauds of the simulated data, by scenario. */
const kinds = ['by their amount', 'on compromised terminals', 'with stolen cards']

function alertLines({ alerts, frauds, fraudsCaught, falseAlerts }: DemoState): string[] {
  if (sum(frauds) === 0) return [`${count(alerts)} alerts`]
  const caught = kinds.map((kind, scenario) => `${kind} ${count(fraudsCaught[scenario]!)} of ${count(frauds[scenario]!)}`)
  return [
    `${count(alerts)} alerts; since the fast-forward, on days that the models never saw: ${count(sum(fraudsCaught))} of ${count(sum(frauds))} frauds caught, ${count(falseAlerts)} false alerts`,
    `caught ${caught.join(', ')} (a card's own history does not show that a terminal is compromised)`,
  ]
}
