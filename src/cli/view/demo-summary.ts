import type { Connections } from '../../stack/connections.js'
import type { DemoResult } from './demo.js'
import type { DemoState } from './demo-state.js'
import { count, milliseconds, sum } from './figures.js'

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

/** What happened and what to try next, the reader's own cluster first. */
export function summaryLines(result: DemoResult, connections: Connections): string[] {
  const { state, eventsPerSecond, delayMs, seconds } = result
  const { namespace, topology } = state
  const lines = [
    `${count(state.scored)} of ${count(state.produced)} transactions scored in ${seconds.toFixed(0)} s (${count(eventsPerSecond)} events/s on average, the fast-forward included)`,
    `missing ${count(state.missing)}, duplicates ${count(state.duplicates)}${state.kills > 0 ? `, with the engine killed ${state.kills === 1 ? 'once' : `${state.kills} times`}` : ''}`,
  ]
  if (state.unexpected > 0) lines.push(`${count(state.unexpected)} outputs of transactions that were never produced`)
  if (state.waiting > 0) lines.push(`${count(state.waiting)} had no score yet when the engine stopped; they are on the topic, and the next start would score them`)
  if (!Number.isNaN(delayMs.p50)) lines.push(`delay p50 ${milliseconds(delayMs.p50)}, p99 ${milliseconds(delayMs.p99)}, from the transaction's record to its score in a reader's hands`)
  lines.push(
    ...alertLines(state),
    '',
    'Try next',
    ...table([
      [`harrier run --brokers HOST:PORT --registry URL --topology FILE`, 'the engine on your own cluster'],
      [`harrier topology describe ${topology}`, 'the topology of this demo: copy it for yours'],
      [`harrier tail alerts --namespace ${namespace}`, 'the alerts of this run'],
      [`harrier tail lineage --namespace ${namespace}`, 'what each transaction read and which models scored it'],
      ['harrier doctor', 'what was found on this machine'],
    ]),
    '',
    connections.source === 'configured'
      ? `The topics ${namespace}.* stay on ${connections.brokers}.`
      : `Broker and registry go on running at ${connections.brokers}. To stop them: harrier stack down`,
  )
  return lines
}

/** Frauds of the simulated data, by scenario. */
const kinds = ['by their amount', 'on compromised terminals', 'with stolen cards']

function alertLines({ alerts, frauds, fraudsCaught, falseAlerts }: DemoState): string[] {
  const lines = [`${count(alerts)} alerts`]
  if (sum(frauds) === 0) return lines
  const caught = kinds.map((kind, scenario) => `${kind} ${count(fraudsCaught[scenario]!)} of ${count(frauds[scenario]!)}`)
  return [
    `${lines[0]}; since the fast-forward, on days that the models never saw: ${count(sum(fraudsCaught))} of ${count(sum(frauds))} frauds caught, ${count(falseAlerts)} false alerts`,
    `caught ${caught.join(', ')} (a card's own history does not show that a terminal is compromised)`,
  ]
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([command]) => command.length))
  return rows.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`)
}
