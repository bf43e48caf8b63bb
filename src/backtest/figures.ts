import { quotedName, quotedText } from '../replay/column-appender.js'
import { maskText } from '../privacy/mask.js'
import { CardPrecision } from './card-precision.js'
import { Ranking, type RankingFigures, type Totals } from './ranking.js'
import type { ScoreTable } from './score-table.js'

/** A model as the report shows it: its name there, and its column in scores.parquet. */
export interface ShownModel {
  readonly name: string
  readonly column: string
  /** Thresholds by which it is judged: those of the policy under which it ran. */
  readonly review: number
  readonly decline: number
}

export interface ModelFigures extends ShownModel {
  readonly scored: number
  /** Events without a finite score. */
  readonly unscored: number
  readonly meanScore: number
  /** Null where no event has a label. */
  readonly ranking: RankingFigures | null
  readonly cardPrecision: number | null
  readonly byDay: readonly DayFigures[]
}

export interface DayFigures {
  /** Days since 1970. */
  readonly day: number
  readonly alerts: number
  readonly declines: number
  readonly frauds: number
  readonly caught: number
}

export interface Disagreement {
  readonly a: string
  readonly b: string
  /** Events of which one model would make an alert and the other would not. */
  readonly otherDecision: number
  readonly correlation: number | null
  readonly top: readonly DisagreeingEvent[]
}

export interface DisagreeingEvent {
  readonly eventId: string
  readonly card: string
  readonly eventTimeMs: number
  readonly isFraud: boolean | null
  readonly a: number
  readonly b: number
}

export interface FigureOptions {
  readonly models: readonly ShownModel[]
  readonly reviewCost: number
  /** What a missed fraud costs; undefined: the column `loss` says it. */
  readonly lossEach: number | undefined
  readonly alertsADay: number
  readonly cardsADay: number
  /** Cards are personal: those that are named are masked. */
  readonly masksCards: boolean
}

export interface Figures {
  readonly events: number
  readonly labelled: number
  readonly frauds: number
  readonly late: number
  readonly days: number
  readonly firstMs: number
  readonly lastMs: number
  readonly models: readonly ModelFigures[]
  readonly disagreements: readonly Disagreement[]
}

/** Events that the report names where two models disagree. */
const disagreeingEventsMax = 20

/** Everything that the report shows of `scores.parquet`. Figures that need labels leave out events without one. */
export async function computeFigures(table: ScoreTable, file: string, options: FigureOptions, onStep: (text: string) => void): Promise<Figures> {
  const source = `read_parquet(${quotedText(file)})`
  const [counts] = await table.all(`SELECT count(*) AS events, count(is_fraud) AS labelled, count(*) FILTER (is_fraud) AS frauds, count(*) FILTER (late) AS late,
    count(DISTINCT epoch_ms(event_time) // 86400000) AS days, min(epoch_ms(event_time)) AS first, max(epoch_ms(event_time)) AS last FROM ${source}`)
  const number = (name: string): number => Number(counts![name] ?? 0)
  const models: ModelFigures[] = []
  for (const model of options.models) {
    onStep(`figures of ${model.name}`)
    models.push(await figuresOf(table, source, model, options))
  }
  const disagreements: Disagreement[] = []
  const [first, ...others] = options.models
  for (const other of others) disagreements.push(await disagreementOf(table, source, first!, other, options.masksCards))
  return { events: number('events'), labelled: number('labelled'), frauds: number('frauds'), late: number('late'), days: number('days'), firstMs: number('first'), lastMs: number('last'), models, disagreements }
}

async function figuresOf(table: ScoreTable, source: string, model: ShownModel, options: FigureOptions): Promise<ModelFigures> {
  const score = quotedName(model.column)
  const finite = `isfinite(${score})`
  const [counts] = await table.all(`SELECT count(*) FILTER (${finite}) AS scored, count(*) FILTER (${finite} IS NOT TRUE) AS unscored, avg(${score}) FILTER (${finite}) AS mean FROM ${source}`)
  const byDay = (await table.all(`SELECT epoch_ms(event_time) // 86400000 AS day, count(*) FILTER (${finite} AND ${score} >= ${float(model.review)}) AS alerts,
    count(*) FILTER (${finite} AND ${score} >= ${float(model.decline)}) AS declines, count(*) FILTER (is_fraud) AS frauds,
    count(*) FILTER (is_fraud AND ${finite} AND ${score} >= ${float(model.review)}) AS caught FROM ${source} GROUP BY day ORDER BY day`)
  ).map((row) => ({ day: Number(row.day), alerts: Number(row.alerts), declines: Number(row.declines), frauds: Number(row.frauds), caught: Number(row.caught) }))
  const labelled = `${source} WHERE is_fraud IS NOT NULL AND ${finite}`
  const lossOf = options.lossEach === undefined ? 'loss' : String(options.lossEach)
  const [sums] = await table.all(`SELECT count(*) AS events, count(*) FILTER (is_fraud) AS frauds, coalesce(sum(${lossOf}) FILTER (is_fraud), 0) AS loss FROM ${labelled}`)
  const totals: Totals = { events: Number(sums!.events), frauds: Number(sums!.frauds), loss: Number(sums!.loss), days: Math.max(1, byDay.length) }
  const hasLabels = totals.events > 0
  return {
    ...model,
    scored: Number(counts!.scored),
    unscored: Number(counts!.unscored),
    meanScore: Number(counts!.mean ?? NaN),
    byDay,
    ranking: hasLabels ? await rankingOf(table, score, labelled, lossOf, totals, model, options) : null,
    cardPrecision: hasLabels ? await cardPrecisionOf(table, score, labelled, options.cardsADay) : null,
  }
}

async function rankingOf(table: ScoreTable, score: string, labelled: string, lossOf: string, totals: Totals, { review, decline }: ShownModel, options: FigureOptions): Promise<RankingFigures> {
  const ranking = new Ranking({ totals, reviewCost: options.reviewCost, alertsADay: options.alertsADay, thresholds: [review, decline] })
  const groups = `SELECT ${score}::DOUBLE AS score, count(*)::DOUBLE, count(*) FILTER (is_fraud)::DOUBLE, coalesce(sum(${lossOf}) FILTER (is_fraud), 0)::DOUBLE FROM ${labelled} GROUP BY 1 ORDER BY 1 DESC`
  for await (const { rows, columns } of table.columns(groups)) {
    const [scores, events, frauds, losses] = columns as readonly (readonly number[])[]
    for (let row = 0; row < rows; row++) ranking.add({ score: scores![row]!, events: events![row]!, frauds: frauds![row]!, loss: losses![row]! })
  }
  return ranking.figures()
}

async function cardPrecisionOf(table: ScoreTable, score: string, labelled: string, top: number): Promise<number> {
  const precision = new CardPrecision(top)
  const cards = `SELECT (epoch_ms(event_time) // 86400000)::INTEGER AS day, card, bool_or(is_fraud) FROM ${labelled} GROUP BY day, card ORDER BY day, max(${score}) DESC, card`
  for await (const { rows, columns } of table.columns(cards)) {
    for (let row = 0; row < rows; row++) precision.add({ day: columns[0]![row] as number, card: columns[1]![row] as string, isFraud: columns[2]![row] as boolean })
  }
  return precision.value()
}

async function disagreementOf(table: ScoreTable, source: string, first: ShownModel, second: ShownModel, masksCards: boolean): Promise<Disagreement> {
  const a = quotedName(first.column)
  const b = quotedName(second.column)
  const both = `${source} WHERE isfinite(${a}) AND isfinite(${b})`
  const [counts] = await table.all(`SELECT count(*) FILTER ((${a} >= ${float(first.review)}) <> (${b} >= ${float(second.review)})) AS other, corr(${a}, ${b}) AS correlation FROM ${both}`)
  const top = await table.all(`SELECT event_id, card, epoch_ms(event_time)::DOUBLE AS time, is_fraud, ${a}::DOUBLE AS a, ${b}::DOUBLE AS b FROM ${both}
    AND ${a} <> ${b} ORDER BY abs(${a} - ${b}) DESC, event_time, event_id LIMIT ${disagreeingEventsMax}`)
  const { correlation } = counts!
  return {
    a: first.name,
    b: second.name,
    otherDecision: Number(counts!.other),
    correlation: typeof correlation === 'number' && Number.isFinite(correlation) ? correlation : null,
    top: top.map((row) => ({ eventId: String(row.event_id), card: masksCards ? maskText(String(row.card)) : String(row.card), eventTimeMs: Number(row.time), isFraud: row.is_fraud as boolean | null, a: Number(row.a), b: Number(row.b) })),
  }
}

/** A threshold as scores are compared with it: a float32 score at the threshold is above it, as `decide` says of the double. */
function float(threshold: number): string {
  return `${threshold}::DOUBLE`
}
