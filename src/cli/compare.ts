import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { parseDurationMs } from '../base/durations.js'
import { compareDefaults, compareLive, labelsTopicOf, type ModelComparison } from '../backtest/compare-live.js'
import { recallLossMax, fraudsMin, type Interval } from '../backtest/paired-comparison.js'
import { addConnectionOptions, resolveConnections } from '../stack/connections.js'
import { parseCount } from './parse-options.js'
import { stageView, type StageOptions } from './releases.js'
import { tableText } from './view/table.js'

interface CompareCliOptions extends StageOptions {
  labelsTopic?: string
  events: number
  mature?: number
  alertsADay: number
  top: number
  resamples: number
}

/** `harrier models compare` */
export function registerCompare(models: Command): void {
  const command = models
    .command('compare')
    .description('two models on the events that both have scored in the stream, by the labels that have come: which is better, and how sure that is')
    .argument('<a>', '<name>@<version>, the one that is there')
    .argument('<b>', '<name>@<version>, the candidate: a shadow or a challenger')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--namespace <name>', 'prefix of topics and ids')
    .option('--labels-topic <name>', 'where labels are (default: that of the topology, else labels)')
    .option('--events <n>', 'the newest scored events to read', parseCount, compareDefaults.eventsMax)
    .option('--mature <duration>', 'an event without a label counts as genuine when it is so much older than the newest label, for example 30d (default: it is left out)', parseDurationMs)
    .option('--alerts-a-day <n>', 'alerts that people can look at', parseCount, compareDefaults.alertsADay)
    .option('--top <k>', 'k of card precision', parseCount, compareDefaults.top)
    .option('--resamples <n>', 'of the bootstrap', parseCount, compareDefaults.resamples)
    .option('--json', 'for machines')
  addConnectionOptions(command).action(compare)
}

async function compare(a: string, b: string, options: CompareCliOptions): Promise<void> {
  const topology = stageView(options)
  const stopping = new AbortController()
  process.once('SIGINT', () => stopping.abort())
  const tells = !options.json && process.stderr.isTTY
  const comparison = await compareLive({
    topology,
    ...(await resolveConnections(options)),
    namespace: options.namespace,
    models: [a, b],
    labelsTopic: labelsTopicOf(topology, options.namespace, options.labelsTopic),
    eventsMax: options.events,
    matureMs: options.mature,
    alertsADay: options.alertsADay,
    top: options.top,
    resamples: options.resamples,
    clock: systemClock,
    signal: stopping.signal,
    onProgress: (text) => tells && process.stderr.write(`\r${text}   `),
  })
  if (tells) process.stderr.write('\n')
  process.stdout.write(options.json ? `${JSON.stringify(comparison)}\n` : comparisonText(comparison, options))
}

function comparisonText({ models, read, both, labelled, frauds, days, figures, cardPrecision, byDelay, recommendation }: ModelComparison, { alertsADay, top }: CompareCliOptions): string {
  const [a, b] = models
  const count = (value: number): string => value.toLocaleString('en')
  const row = (name: string, of: { a: Interval; b: Interval; difference: Interval }): string[] => [name, interval(of.a), interval(of.b), interval(of.difference, true)]
  const precision = (value: number, signed = false): string => (Number.isNaN(value) ? '-' : `${signed && value >= 0 ? '+' : ''}${value.toFixed(4)}`)
  return [
    `${count(read)} scored events read, ${count(both)} scored by both, ${count(labelled)} of them with a label: ${count(frauds)} frauds, over ${days.toFixed(1)} days\n`,
    tableText(['', a, b, 'difference'], [
      row('AUC ROC', figures.aucRoc),
      row('average precision', figures.averagePrecision),
      row(`recall at ${alertsADay} alerts a day`, figures.recallAtBudget),
      [`card precision@${top}`, ...cardPrecision.map((value) => precision(value)), precision(cardPrecision[1] - cardPrecision[0], true)],
    ]),
    'in brackets: 95 % of a bootstrap over entities, the same draws for both\n',
    tableText(['AVERAGE PRECISION BY LABEL DELAY', 'FRAUDS', a, b, 'difference'], byDelay.map(({ withinDays, frauds: known, averagePrecision: of }) => [
      withinDays === null ? 'all labels' : `known within ${withinDays} day${withinDays === 1 ? '' : 's'}`, count(known), interval(of.a), interval(of.b), interval(of.difference, true),
    ])),
    `${recommendation.text}\n`,
    `rule: better is who has the higher average precision with 95 % confidence, and loses at most ${recallLossMax * 100} points of recall at the alert budget; from ${fraudsMin} frauds on\n`,
  ].join('\n')
}

function interval({ value, low, high }: Interval, signed = false): string {
  const text = (number: number): string => (Number.isFinite(number) ? `${signed && number >= 0 ? '+' : ''}${number.toFixed(4)}` : '-')
  return Number.isNaN(value) ? '-' : `${text(value)} [${text(low)}, ${text(high)}]`
}
