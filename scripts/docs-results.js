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
