// The generated tables of docs/results.md about models: from training/figures.json, training/published.json, training/agreement.json and the manifests.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const root = fileURLToPath(new URL('..', import.meta.url))
const json = (file) => JSON.parse(readFileSync(`${root}training/${file}`, 'utf8'))
const code = (text) => `\`${text}\``
const short = (value, digits) => value.toFixed(digits).replace(/^0\./, '.')
const withSpread = ({ mean, sd }) => mean.map((value, i) => `${short(value, 4)} ±${short(sd[i], 3)}`)
const percent = (share) => `${(share * 100).toFixed(0)} %`

/** Average precision of every seed, least to greatest. */
function acrossSeeds({ seeds }, set) {
  const values = Object.values(seeds).map((means) => means[set][1])
  return values.length > 1 ? `${short(Math.min(...values), 4)} to ${short(Math.max(...values), 4)}` : '(one seed)'
}

export function bookTable(table) {
  const { book, bound } = json('figures.json')
  const published = Object.entries(json('published.json').models).map(([name, figures]) => [`${name}, published`, '', ...withSpread(figures), ''])
  const ours = Object.entries(book).map(([name, entry]) => [code(name), entry.training.parameters.toLocaleString('en'), ...withSpread(entry.sets.book), acrossSeeds(entry, 'book')])
  const ceiling = ['*bound*', '', ...withSpread(bound.bound.sets.book), '']
  return table(['model', 'parameters', 'AUC ROC', 'average precision', 'card precision@100', 'average precision of three seeds'], [...published, ...ours, ceiling])
}

function streamTable(table, set) {
  const { stream, bound } = json('figures.json')
  const rows = Object.entries(stream).map(([name, entry]) => [code(name), entry.kind, ...withSpread(entry.sets[set]), acrossSeeds(entry, set)])
  return table(['model', 'kind', 'AUC ROC', 'average precision', 'card precision@100', 'average precision of three seeds'], [...rows, ['*bound*', '', ...withSpread(bound.bound.sets[set]), '']])
}

export const streamOnBookSets = (table) => streamTable(table, 'book')
export const streamOnEveryPayment = (table) => streamTable(table, 'every')

const classes = { scenario1: 'scenario 1', scenario2Visible: 'scenario 2, visible', scenario2Hidden: 'scenario 2, hidden', scenario3: 'scenario 3' }

export function visibilityTable(table) {
  const { stream, book, bound } = json('figures.json')
  const counts = bound.bound.sets.book.frauds
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0)
  const row = (name, entry) => [name, ...Object.keys(classes).map((kind) => percent(entry.sets.book.reached[kind]))]
  return table(
    ['model', ...Object.values(classes)],
    [
      ['frauds in the four test sets', ...Object.keys(classes).map((kind) => `${counts[kind]} (${percent(counts[kind] / all)})`)],
      ...Object.entries(stream).map(([name, entry]) => row(`${code(name)}, stream`, entry)),
      ...Object.entries(book).map(([name, entry]) => row(`${code(name)}, book`, entry)),
      row('*bound*', bound.bound),
    ],
  )
}

export function costTable(table) {
  const names = Object.keys(json('figures.json').stream)
  return table(
    ['model', 'parameters', 'µs for an event, alone', 'µs for an event, in 256', 'training, s', 'CPU-s', 'Wh, estimated'],
    names.map((name) => {
      const { training } = parse(readFileSync(`${root}models/${name}/1/model.yaml`, 'utf8'))
      return [code(`${name}@1`), training.parameters.toLocaleString('en'), training.microsecondsARow[1], training.microsecondsARow[256], training.seconds, training.cpuSeconds, training.wattHoursEstimated]
    }),
  )
}

export function agreementTable(table) {
  if (!existsSync(`${root}training/agreement.json`)) return 'Not measured yet.'
  const { days, payments, eventsStreamed, models } = json('agreement.json')
  const rows = Object.entries(models).map(([name, { kind, otherBits, torchDifference }]) => [code(name), kind, payments.toLocaleString('en'), otherBits, torchDifference?.toExponential(1) ?? 'trees: not run in PyTorch'])
  return `${days}, after ${eventsStreamed.toLocaleString('en')} events from 2018-04-01 on:\n\n${table(['model', 'kind', 'scores compared', 'other bits than on Kafka', 'PyTorch differs by at most'], rows)}`
}

const amount = (value) => value.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const share = (value) => `${(value * 100).toFixed(1)} %`

export function accountTable(table) {
  const { models, bound, baseRate, split } = json('account.json')
  const row = (name, { aucRoc, averagePrecision, brier, calibrationError }) => [name, short(aucRoc, 4), short(averagePrecision, 4), brier === undefined ? '' : short(brier, 4), calibrationError === undefined ? '' : short(calibrationError, 4)]
  const rows = ['account-risk', 'account-row'].map((name) => row(code(name), models[name]))
  const atOnce = ['account-risk', 'account-row'].map((name) => row(`${code(name)}, at once`, models[name].atOnce))
  const { rows: days, share: positive } = models['account-risk']
  return `${split.test}: ${days.toLocaleString('en')} days of customers, ${share(positive)} of them with a fraud within seven days; ${models['account-risk'].atOnce.rows.toLocaleString('en')} payments scored at once, ${share(models['account-risk'].atOnce.share)}.\n\n${table(['', 'AUC ROC', 'average precision', 'Brier score', 'calibration error'], [...rows, ['the base rate', short(0.5, 4), short(positive, 4), short(baseRate.brier, 4), short(Math.abs(baseRate.share - positive), 4)], row('*the simulator\'s state known*', bound.state), row('*what will follow known*', bound), ...atOnce])}`
}

export function calibrationTable(table) {
  const { models } = json('account.json')
  const bands = models['account-risk'].calibration
  const plain = new Map(models['account-row'].calibration.map((band) => [band.from, band]))
  return table(
    ['score from', 'days', 'mean score', 'came true', '95 %', '`account-row`: days', 'mean score', 'came true'],
    bands.map(({ from, rows, meanScore, share: came, low, high }) => {
      const other = plain.get(from)
      return [from, rows.toLocaleString('en'), share(meanScore), share(came), `${share(low)} to ${share(high)}`, other?.rows.toLocaleString('en') ?? '0', other ? share(other.meanScore) : '', other ? share(other.share) : '']
    }),
  )
}

export function lossTable(table) {
  const { models } = json('account.json')
  const ours = models['account-loss'].loss
  const plain = models['account-row'].loss
  return table(
    ['tenth', '`account-loss` expects', 'realised', 'base: `account-row` × mean loss', 'realised'],
    [
      ...ours.deciles.map(({ decile, expected, realised }, i) => [decile, amount(expected), amount(realised), amount(plain.deciles[i].expected), amount(plain.deciles[i].realised)]),
      ['all', amount(ours.expected), amount(ours.realised), amount(plain.expected), amount(plain.realised)],
    ],
  )
}

export function accountCosts(table) {
  return table(
    ['model', 'parameters', 'µs for a row, alone', 'µs for a row, in 256', 'training, s', 'CPU-s', 'Wh, estimated'],
    ['account-risk', 'account-loss', 'account-row'].map((name) => {
      const { training } = parse(readFileSync(`${root}models/${name}/1/model.yaml`, 'utf8'))
      return [code(`${name}@1`), training.parameters.toLocaleString('en'), training.microsecondsARow[1], training.microsecondsARow[256], training.seconds, training.cpuSeconds, training.wattHoursEstimated]
    }),
  )
}
