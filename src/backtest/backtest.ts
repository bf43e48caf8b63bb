import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HarrierError } from '../base/errors.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { quotedName, quotedText } from '../replay/column-appender.js'
import { isTable } from '../topology/export-features.js'
import { turnsDays } from '../topology/day-calendar.js'
import { harrierVersion } from '../topology/harrier-version.js'
import type { Topology } from '../topology/load-topology.js'
import type { BacktestOptions } from './backtest-options.js'
import { openReader } from './event-sources.js'
import { computeFigures, type Figures, type ShownModel } from './figures.js'
import { labelTableColumns, readLabelsInto } from './label-topic.js'
import { compareWithLive, readRecordedRun, type LiveComparison, type RecordedRun } from './live-comparison.js'
import { runPass, type PassResult } from './pass.js'
import { renderReport } from './report.js'
import { isCardStage, isNumberField } from './row-collector.js'
import { ScoreTable, scoredColumns, scoresQuery, whatIfColumn, whatIfColumns } from './score-table.js'

/** Decisions of the run against those of the what-if: events and, of them, frauds. */
export interface DecisionChange {
  readonly from: string
  readonly to: string
  readonly events: number
  readonly frauds: number
}

export interface BacktestResult {
  readonly topology: { readonly name: string; readonly stage: string; readonly file: string; readonly digest: string }
  readonly whatIf: string | undefined
  readonly from: string
  readonly warmUp: number
  readonly refused: number
  readonly firstRefusal: string | undefined
  readonly read: number
  readonly models: readonly { readonly model: string; readonly sha256: string; readonly device: string }[]
  readonly engine: { readonly harrier: string; readonly deviceClass: string }
  readonly secondsScoring: number
  readonly seconds: number
  readonly figures: Figures
  readonly changes: readonly DecisionChange[]
  readonly live: LiveComparison | undefined
  /** Why the scores may differ from those of a run without end, as far as it can be known. */
  readonly notes: readonly string[]
}

export const resultFiles = { scores: 'scores.parquet', report: 'report.html', summary: 'summary.json' } as const

/**
 * Scores past events with other models, thresholds or topologies, by the code that scores the stream, and says how it would
 * have gone. It joins no group, commits nothing and writes to no topic. Errors: USAGE, those of models and topics.
 */
export async function runBacktest(options: BacktestOptions): Promise<BacktestResult> {
  const { topology, out, clock, onProgress } = options
  const startedMs = clock.monotonicMs()
  checkOptions(options)
  await mkdir(out, { recursive: true })
  const table = await ScoreTable.open(out)
  try {
    const recorded: RecordedRun | undefined = options.compareWith && (await readRecordedRun(options))
    const { whatIf } = options
    const lastOf = ({ chain }: Topology): Topology => chain.at(-1)!
    const sharesScores = whatIf !== undefined && haveSameScores(topology, whatIf.topology)
    const isCard = isCardStage(lastOf(topology))
    const labelsAsRecorded = recorded?.batches ?? new Map<number, never>()
    const common = { ...options, recorded: labelsAsRecorded }
    const pass = await runPass(table, { ...common, tableName: 'scored', columns0: scoredColumns(isCard), ownLoss: options.loss, otherPolicy: sharesScores ? lastOf(whatIf.topology) : undefined, title: '' })
    let other: PassResult | undefined
    if (whatIf && !sharesScores) other = await runPass(table, { ...common, topology: whatIf.topology, tableName: 'what_if', columns0: whatIfColumns, ownLoss: null, otherPolicy: undefined, title: 'what if: ' })
    if (pass.measured === 0) throw nothingMeasured(pass)
    const labelsTable = await readLabels(table, pass.partitions, options)
    const models = pass.models.map(({ reference }) => reference)
    const whatIfModels = other?.models.map(({ reference }) => reference) ?? []
    const file = join(out, resultFiles.scores)
    onProgress('writing scores.parquet', 'tick')
    const compared = whatIf && { models: whatIfModels, isOwnRun: other !== undefined }
    await table.export(scoresQuery({ models, deciders: [...models, 'rule', 'review'], whatIf: compared, hasLoss: 'field' in options.loss, isCard, labelsTable }), file)
    const masksCards = topology.chain[0]!.personal?.entity ?? false
    const figures = await computeFigures(table, file, { ...options, models: shownModels(options, pass, other), masksCards, lossEach: 'each' in options.loss ? options.loss.each : undefined }, (step) => onProgress(step, 'tick'))
    const live = options.compareWith && (await compareWithLive(table, file, pass.models, recorded!, options))
    const result: BacktestResult = {
      topology: { name: topology.name, stage: topology.stageName, file: topology.file, digest: topology.digests.topology },
      whatIf: whatIf?.text,
      from: options.from,
      warmUp: pass.warmUp,
      refused: pass.refused,
      firstRefusal: pass.firstRefusal,
      read: pass.read,
      models: pass.models.map(({ reference, sha256, device }) => ({ model: reference, sha256, device })),
      engine: { harrier: harrierVersion, deviceClass: pass.deviceClass },
      secondsScoring: pass.seconds + (other?.seconds ?? 0),
      seconds: (clock.monotonicMs() - startedMs) / 1000,
      figures,
      changes: whatIf ? await decisionChanges(table, file) : [],
      live,
      notes: notesOf(options),
    }
    await writeFile(join(out, resultFiles.summary), `${JSON.stringify(result, null, 1)}\n`)
    await writeFile(join(out, resultFiles.report), renderReport(result, options))
    return result
  } finally {
    await table.close()
  }
}

function nothingMeasured({ read, firstRefusal }: PassResult): HarrierError {
  const because = firstRefusal === undefined ? '' : `; the first refusal: ${firstRefusal}`
  return new HarrierError('USAGE', `none of the ${read.toLocaleString('en')} records gave an event of the measured range${because}`, { remedy: 'look at --since, --until and the fields of the topology' })
}

function checkOptions({ topology, whatIf, from, loss, offsets, compareWith, sinceMs, untilMs }: BacktestOptions): void {
  for (const { chain, name } of [topology, ...(whatIf ? [whatIf.topology] : [])]) {
    const last = chain.at(-1)!
    if (!turnsDays(last.stage)) continue
    throw new HarrierError('USAGE', `stage ${last.stageName} of ${name} scores entities when days turn, and a backtest compares scores of events`, {
      remedy: `take a topology that scores events; or compare days from the rows of \`harrier features --topology ${name}\``,
    })
  }
  if ('field' in loss && !isNumberField(topology.chain.at(-1)!, loss.field)) {
    throw new HarrierError('USAGE', `--loss: "${loss.field}" is not a number field of ${topology.name}`, { remedy: 'give a number, or a number field of the source and a factor: amount*0.01' })
  }
  if (whatIf && whatIf.topology.stageName !== topology.stageName) {
    throw new HarrierError('USAGE', `the what-if begins with stage ${whatIf.topology.stageName}, the run with ${topology.stageName}`, { remedy: 'both read the same events: give a topology with the same first stage' })
  }
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs) throw new HarrierError('USAGE', '--until is not after --since', { remedy: 'the measured range is [since, until)' })
  if (!isTable(from)) return
  if (!existsSync(from)) throw new HarrierError('USAGE', `there is no file ${from}`, { remedy: 'give a .csv or .parquet file, or the name of a topic' })
  if (topology.place > 0) throw new HarrierError('USAGE', 'a table holds the events of the first stage', { remedy: 'leave --stage away, or give the topic between the stages' })
  if (offsets.length > 0) throw new HarrierError('USAGE', '--offsets are those of a topic', { remedy: 'give --since and --until' })
  if (compareWith) throw new HarrierError('USAGE', 'the scores of a table cannot be compared with those of a topic: its partitions are not the topic\'s', { remedy: 'give the input topic as --from' })
}

/** Whether only the last stage's policy differs: then scores are computed once and decided twice. */
function haveSameScores(a: Topology, b: Topology): boolean {
  const modelsOf = ({ stage: { models, policy } }: Topology): string => JSON.stringify([models.champion, models.shadows, typeof policy.fallback === 'object' && 'model' in policy.fallback ? policy.fallback.model : null])
  return a.chain.length === b.chain.length && a.chain.every((view, place) => view.digests.layout === b.chain[place]!.digests.layout && modelsOf(view) === modelsOf(b.chain[place]!))
}

function shownModels({ topology, whatIf }: BacktestOptions, pass: PassResult, other: PassResult | undefined): ShownModel[] {
  const shown = (result: PassResult, { stage: { policy } }: Topology, nameOf: (model: string) => string): ShownModel[] =>
    result.models.filter(({ role }) => role !== 'fallback').map(({ reference }) => ({ name: nameOf(reference), column: nameOf(reference), review: policy.review, decline: policy.decline }))
  const own = shown(pass, topology.chain.at(-1)!, (model) => model)
  if (!whatIf) return own
  const last = whatIf.topology.chain.at(-1)!
  if (other) return [...own, ...shown(other, last, whatIfColumn)]
  const { review, decline } = last.stage.policy
  // The same scores under another policy: only the champion's decide.
  return [...own, { ...own[0]!, name: whatIfColumn(own[0]!.name), review, decline }]
}

/** Labels of a topic into their table; false where there are none to read. */
async function readLabels(table: ScoreTable, partitions: number, options: BacktestOptions): Promise<boolean> {
  const { from, labelsFrom, connections, clock, logger, topology, signal } = options
  if (isTable(from) || labelsFrom === undefined) return false
  const appender = await table.create('labels', labelTableColumns)
  const reader = await openReader(options)
  try {
    const registry = new RegistryClient(connections!.registryUrl, { clock, logger, security: connections!.registrySecurity })
    const { brokers, security, connectMsMax } = connections!
    const count = await withAdmin({ brokers, security, clock, ...connectLimits({ connectMsMax }) }, async (admin) => (await admin.partitionCounts([labelsFrom])).get(labelsFrom))
    if (count === undefined) throw new HarrierError('TOPIC_MISSING', `there is no labels topic ${labelsFrom}`, { remedy: 'name it with --labels, or say --labels none' })
    const counts = await readLabelsInto(appender, reader, labelsFrom, Math.max(count, Math.min(count, partitions)), topology, registry, signal)
    if (counts.unreadable > 0) options.onProgress(`${counts.unreadable.toLocaleString('en')} labels of ${labelsFrom} could not be read`, 'step')
  } finally {
    await reader.close()
  }
  return true
}

async function decisionChanges(table: ScoreTable, file: string): Promise<DecisionChange[]> {
  const rows = await table.all(`SELECT decision, what_if_decision, count(*) AS events, count(*) FILTER (is_fraud) AS frauds FROM read_parquet(${quotedText(file)})
    WHERE what_if_decision IS NOT NULL GROUP BY ${quotedName('decision')}, ${quotedName('what_if_decision')}`)
  return rows.map((row) => ({ from: String(row.decision), to: String(row.what_if_decision), events: Number(row.events), frauds: Number(row.frauds) }))
}

/** What a reader should know of the state that these scores had behind them. */
function notesOf({ topology, from, offsets, warmUpMs, sinceMs, labelsFrom }: BacktestOptions): string[] {
  const notes: string[] = []
  const longest = Math.max(...topology.chain.map(({ stage }) => stage.ttl))
  if (offsets.length > 0) notes.push('State begins empty at the first of the given offsets.')
  if (warmUpMs !== undefined && warmUpMs < longest) notes.push(`The warm-up is shorter than the longest memory of the topology (ttl, ${Math.round(longest / 86_400_000)} days): the first scores know less of the past than a stream would.`)
  if (sinceMs === undefined) notes.push('There is no warm-up: the first events of the range have no past. Give --since to leave them out of the figures.')
  if (topology.chain[0]!.labels && !isTable(from) && topology.place === 0 && labelsFrom === undefined) notes.push('No labels were read: features that look at labels know of no fraud.')
  return notes
}
