import type { DemoState } from './demo-state.js'
import { amount, count, dateTime, engineText, milliseconds, phaseText, share, sum } from './figures.js'
import { sparkline } from './sparkline.js'
import { left, printable, right, span, styledLine, type Span, type Style } from './styled-line.js'

export interface ScreenSize {
  readonly columns: number
  readonly rows: number
}

/** Below so many rows the models and tasks make room for alerts. */
const rowsWithTasksMin = 20
/** A cell of the figures grows with the screen up to this. */
const cellColumnsMax = 27
const wideColumnsMin = 100
const tasksMax = 8
/** The columns of models and of tasks need so much; a narrower screen cuts them off. */
const halfColumnsMin = 30
const keys = ' k  kill the engine (SIGKILL)   q  quit'

/**
 * The whole screen as lines: at most `rows` of at most `columns` characters. Pure, so that a test can compare it with a
 * golden text.
 */
export function renderDemo(state: DemoState, { columns, rows }: ScreenSize, coloured: boolean, page = ''): string[] {
  const lines: Span[][] = [...head(state, columns), ...figures(state, columns)]
  if (rows >= rowsWithTasksMin) lines.push([], ...modelsAndTasks(state, columns))
  lines.push([])
  const foot = [span(`${keys}${page === '' ? '' : `   page ${page}`}`.padEnd(columns), 'bar')]
  lines.push(...alerts(state, columns, rows - lines.length - 1))
  while (lines.length < rows - 1) lines.push([])
  return [...lines.slice(0, Math.max(0, rows - 1)), foot].map((spans) => styledLine(spans, columns, coloured))
}

function head(state: DemoState, columns: number): Span[][] {
  const now = state.perSecond.at(-1) ?? 0
  const phase = phaseText(state)
  const engine = engineText(state)
  const wide = columns >= wideColumnsMin
  const brand = wide ? ` harrier  ${state.topology}` : ' harrier'
  const where = `  ${dateTime(state.eventTimeMs).slice(0, wide ? 19 : 16)}  ${phase}`
  const gap = Math.max(1, columns - brand.length - where.length - 'engine '.length - engine.length - 1)
  const rate = ` ${right(count(now), 8)} `
  const label = ' events/s '
  return [
    [span(brand, 'bold'), span(where), span(' '.repeat(gap)), span('engine '), span(engine, engine === 'running' ? 'good' : 'warning')],
    [span('─'.repeat(columns), 'dim')],
    [span(label, 'dim'), span(sparkline(state.perSecond, Math.max(0, columns - label.length - rate.length)), 'accent'), span(rate, 'bold')],
  ]
}

type Figure = readonly [label: string, value: string, style?: Style]

function figures(state: DemoState, columns: number): Span[][] {
  const zero = (value: number): Style => (value === 0 ? 'good' : 'bad')
  const lines: Figure[][] = [
    [
      ['produced', count(state.produced)],
      ['scored', count(state.scored)],
      ['waiting', count(state.waiting)],
      ['dead letters', count(state.deadLetters), state.deadLetters === 0 ? 'bold' : 'warning'],
    ],
    [
      ['delay p50', milliseconds(state.delayMs.p50)],
      ['p99', milliseconds(state.delayMs.p99)],
      ['missing', count(state.missing), zero(state.missing)],
      ['duplicates', count(state.duplicates + state.unexpected), zero(state.duplicates + state.unexpected)],
    ],
    [
      ['frauds', count(sum(state.frauds))],
      ['caught', `${count(sum(state.fraudsCaught))} ${share(sum(state.fraudsCaught), sum(state.frauds))}`],
      ['false alerts', count(state.falseAlerts)],
      ['kills', count(state.kills)],
    ],
  ]
  const cell = Math.min(cellColumnsMax, Math.floor(columns / 4))
  return lines.map((line) =>
    line.flatMap(([label, value, style]): Span[] => [span(` ${label}`, 'dim'), span(right(value, cell - label.length - 2), style ?? 'bold'), span(' ')]),
  )
}

function modelsAndTasks(state: DemoState, columns: number): Span[][] {
  const { models, tasks } = state
  const half = Math.max(halfColumnsMin, Math.min(60, Math.floor(columns / 2) - 1))
  const lines: Span[][] = [[span(left(' model', half), 'dim'), span(`${left(' lineage of task', half - 18)}${right('sequence', 9)}${right('offset', 10)}`, 'dim')]]
  // Four lines also while the engine is away, so that the alerts below keep their place.
  const lineCount = Math.max(4, Math.min(tasksMax, Math.max(models.length, tasks.length)))
  for (let i = 0; i < lineCount; i++) {
    const model = models[i]
    const task = tasks[i]
    const line: Span[] = []
    if (model) line.push(span(` ${left(model.role, 9)}`), span(left(model.model, half - 20), 'accent'), span(left(` ${model.device}`, 10)))
    else line.push(span(' '.repeat(half)))
    if (task) line.push(span(left(` ${taskName(task.task, state.topology)}`, half - 18)), span(right(reached(task.sequence), 9), 'bold'), span(right(reached(task.position), 10)))
    lines.push(line)
  }
  return lines
}

/** `customer/0`: which topology it is stands in the title. */
function taskName(task: string, topology: string): string {
  return task.startsWith(`${topology}/`) ? task.slice(topology.length + 1) : task
}

/** A task that has done nothing yet stands at -1. */
function reached(value: number): string {
  return value < 0 ? '–' : count(value)
}

function alerts(state: DemoState, columns: number, room: number): Span[][] {
  const wide = columns >= wideColumnsMin
  const timeColumns = wide ? 21 : 16
  const header = ` ${left('alert', timeColumns)}${left('card', 8)}${right('amount', 10)}  ${left('score', 7)}${left('decision', 9)}${left('truth', 9)}why`
  if (room < 1) return []
  const newest = room === 1 ? [] : state.alertRows.slice(1 - room)
  return [
    [span(header, 'dim')],
    ...newest.map((row): Span[] => [
      span(` ${left(dateTime(row.eventTimeMs).slice(wide ? 0 : 5), timeColumns)}${left(row.card, 8)}${right(amount(row.amountMinor), 10)}  ${left(row.score.toFixed(3), 7)}`),
      span(left(row.decision.toLowerCase(), 9), row.decision === 'DECLINE' ? 'bad' : 'warning'),
      row.isFraud ? span(left('✓ fraud', 9), 'good') : span(left('✗ false', 9), 'dim'),
      span(printable(row.why)),
    ]),
  ]
}
