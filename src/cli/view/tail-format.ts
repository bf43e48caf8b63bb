import type { DecodedOutcome } from '../../codec/decoded-outcome.js'
import { deadLetterHeaders } from '../../consumer/dead-letter.js'
import { count } from './figures.js'
import { left, printable, right, span, type Span, type Style } from './styled-line.js'
import { kindOf, type RecordKind, type TailRecord } from './tail-record.js'

/** What a record is shown as: one line, or several for a dead letter. */
export type ShownLine = readonly Span[]

/** Characters of an original value that a dead letter shows. */
const previewCharsMax = 160
const decisionStyles: Record<string, Style> = { APPROVE: 'dim', REVIEW: 'warning', DECLINE: 'bad' }

/** The line above records of one kind; none where each line explains itself. */
export const headings: Record<RecordKind, string | undefined> = {
  'scored event': `${left('event time', 20)}${left('entity', 12)}${left('event', 12)}${left('score', 8)}${left('decision', 9)}${left('model', 18)}${left('others', 30)}attributes, lineage`,
  alert: `${left('event time', 20)}${left('entity', 12)}${left('event', 12)}${left('score', 8)}${left('decision', 9)}${left('model', 18)}attributes, why, lineage`,
  lineage: `${left('task', 26)}${right('sequence', 9)}  ${left('input offsets', 24)}${right('records', 8)}${right('scored', 8)}${right('alerts', 8)}${right('dead', 6)}  models`,
  'dead letter': undefined,
  other: undefined,
}

const formats: Record<RecordKind, (record: TailRecord) => ShownLine[]> = {
  'scored event': (record) => [scoredLine(record.decoded.value as DecodedOutcome)],
  alert: (record) => [alertLine(record.decoded.value as DecodedOutcome)],
  lineage: (record) => [lineageLine(record.decoded.value as Lineage)],
  'dead letter': deadLetterLines,
  other: otherLines,
}

export function formatRecord(record: TailRecord): { kind: RecordKind; lines: ShownLine[] } {
  const kind = kindOf(record)
  return { kind, lines: formats[kind](record) }
}

interface Lineage {
  readonly task: string
  readonly sequence: number
  readonly inputs: readonly { readonly topic: string; readonly partition: number; readonly from: number; readonly to: number }[]
  readonly counts: { readonly records: number; readonly scored: number; readonly alerts: number; readonly dead_letters: number; readonly late: number; readonly fallbacks: number }
  readonly models: readonly { readonly role: string; readonly model: string; readonly device: string; readonly failure: string | null }[]
}

function outcomeCells(value: DecodedOutcome): Span[] {
  return [
    cell(shortTime(value.event_time), 20),
    cell(value.entity, 12),
    cell(value.event_id, 12),
    cell(value.score.toFixed(4), 8, 'bold'),
    cell(value.decision.toLowerCase(), 9, decisionStyles[value.decision] ?? 'plain'),
    cell(value.model, 18, value.fallback ? 'warning' : 'accent'),
  ]
}

function scoredLine(value: DecodedOutcome): Span[] {
  const others = (value.scores ?? []).filter(({ role }) => role !== 'champion').map(({ model, score }) => `${shortModel(model, value.model)} ${score.toFixed(2)}`)
  const marks = [value.fallback ? 'fall-back' : '', value.late ? 'late' : ''].filter((mark) => mark !== '')
  return [...outcomeCells(value), cell(others.join(' '), 30), ...marks.map((mark) => span(`${mark} `, 'warning')), ...tail(value)]
}

function alertLine(value: DecodedOutcome): Span[] {
  return [...outcomeCells(value), span(printable(`${attributes(value)}  ${whyOf(value)}  `)), span(printable(reference(value)), 'dim')]
}

/** Why the champion gave its score, each reason with what it adds to the log-odds; without that, what the policy says. */
function whyOf({ explanation, reasons }: DecodedOutcome): string {
  if (!explanation) return reasons.join('; ')
  // The decision says that a threshold was reached.
  const others = reasons.filter((reason) => !reason.startsWith('score at or above'))
  return [...explanation.reasons.map(({ text, contribution }) => `${text} (+${contribution.toFixed(1)})`), ...others].join('; ')
}

function tail(value: DecodedOutcome): Span[] {
  return [span(printable(`${attributes(value)}  `)), span(printable(reference(value)), 'dim')]
}

function lineageLine({ task, sequence, inputs, counts, models }: Lineage): Span[] {
  const ranges = inputs.map(({ from, to }) => `${count(from)} … ${count(to)}`).join(', ')
  const asides = [counts.late > 0 ? ` late ${count(counts.late)}` : '', counts.fallbacks > 0 ? ` fall-backs ${count(counts.fallbacks)}` : '']
  return [
    cell(task, 26),
    span(right(count(sequence), 9), 'bold'),
    span('  '),
    cell(ranges, 24),
    span(right(count(counts.records), 8)),
    span(right(count(counts.scored), 8)),
    span(right(count(counts.alerts), 8)),
    span(right(count(counts.dead_letters), 6), counts.dead_letters > 0 ? 'warning' : 'plain'),
    span('  '),
    ...models.flatMap(({ model, device, failure }): Span[] => [span(printable(`${model} ${device} `), failure === null ? 'accent' : 'bad'), ...(failure === null ? [] : [span(printable(`(${failure}) `), 'bad')])]),
    span(asides.join(''), 'warning'),
  ]
}

function deadLetterLines(record: TailRecord): ShownLine[] {
  const header = (name: string): string => record.headers.find((entry) => entry.name === name)?.value ?? '?'
  const own = new Set<string>(Object.values(deadLetterHeaders))
  const others = record.headers.filter(({ name }) => !own.has(name))
  const source = `${header(deadLetterHeaders.topic)}/${header(deadLetterHeaders.partition)} offset ${header(deadLetterHeaders.offset)}`
  const lines: Span[][] = [
    [span(`${time(record.timestampMs)}  `), span(printable(header(deadLetterHeaders.exception)), 'bad'), span(printable(`  ${header(deadLetterHeaders.message)}`))],
    [span(printable(`  from ${source}, key ${record.key ?? 'none'}, dead letter ${record.partition}/${record.offset}`), 'dim')],
    [span('  value  ', 'dim'), span(preview(record))],
  ]
  if (others.length > 0) lines.push([span('  headers  ', 'dim'), span(printable(others.map(({ name, value }) => `${name}=${value}`).join('  ')))])
  return lines
}

function otherLines(record: TailRecord): ShownLine[] {
  const { decoded, key, partition, offset, timestampMs } = record
  const line = [span(`${time(timestampMs)}  ${left(`${partition}/${offset}`, 12)}`, 'dim'), span(`${left(printable(key ?? '–'), 12)}  `, 'accent'), span(printable(valueText(decoded.value)))]
  if (decoded.problem !== undefined) line.push(span(`  (${printable(decoded.problem)})`, 'warning'))
  return [line]
}

/** The original value: what Avro holds where that can be read, else the text it is, else its bytes in hex. */
function preview({ decoded, value, isMasked }: TailRecord): string {
  if (value === null) return 'null'
  const size = `${count(value.length)} bytes`
  if (isMasked) return `${shorten(printable(valueText(decoded.value)), previewCharsMax)}  (${size}${decoded.problem === undefined ? '; --clear shows it' : ''})`
  if (decoded.encoding === 'avro') return `${shorten(printable(valueText(decoded.value)), previewCharsMax)}  (${size} of Avro)`
  const text = decoded.encoding === 'binary' ? undefined : Buffer.from(value).toString()
  const isText = text !== undefined && printable(text) === text
  const shown = shorten(isText ? text : Buffer.from(value).toString('hex'), previewCharsMax)
  return `${shown}  (${size}${isText ? '' : ' in hex'})`
}

function shorten(text: string, charsMax: number): string {
  return text.length > charsMax ? `${text.slice(0, charsMax)}…` : text
}

function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function cell(text: string, columns: number, style: Style = 'plain'): Span {
  const shown = printable(text)
  // An id that is too long is shown whole: a cut id is of no use.
  return span(shown.length < columns ? shown.padEnd(columns) : `${shown} `, style)
}

function attributes(value: DecodedOutcome): string {
  return Object.entries(value.attributes).map(([name, attribute]) => `${name}=${String(attribute)}`).join(' ')
}

function reference({ lineage }: DecodedOutcome): string {
  return `${lineage.task}#${lineage.sequence}`
}

/** Without the word that it shares with the deciding model: `attention@1` beside `card-gru@1`. */
function shortModel(model: string, decider: string): string {
  const word = model.slice(0, model.indexOf('-') + 1)
  return word !== '' && decider.startsWith(word) ? model.slice(word.length) : model
}

function shortTime(iso: string): string {
  return iso.slice(0, 19).replace('T', ' ')
}

function time(timestampMs: number): string {
  return new Date(timestampMs).toISOString().slice(0, 23).replace('T', ' ')
}
