import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { problemText } from '../base/setting-problems.js'
import { createScorer } from './create-scorer.js'
import type { DevicePolicy } from './device.js'
import type { Manifest } from './manifest.js'
import type { LoadedModel } from './loaded-model.js'
import { loadModelFolder } from './model-store.js'
import type { Categories } from './recodes.js'
import type { Scorer, ScorerModel } from './scorer.js'

export const goldenFile = 'golden.json'

const cell = z.union([z.number(), z.string(), z.boolean(), z.null()])

/** Golden rows of a model: what it must say, by the framework that trained it. */
const goldenSchema = z.strictObject({
  /** Where the expected scores come from, for people. */
  source: z.string().optional(),
  /** Largest absolute difference of a score. */
  tolerance: z.number().positive().default(1e-5),
  /** Names of the columns of `rows`; default: the manifest's features, in order. */
  features: z.array(z.string()).optional(),
  sequences: z
    .array(
      z.strictObject({
        /** Rows of one entity, oldest first, beginning with nothing before them; a category by its value, null = unknown. */
        rows: z.array(z.array(cell)).min(1),
        /** The score of each row; null = not compared. */
        scores: z.array(z.number().nullable()),
      }),
    )
    .min(1),
})

export interface GoldenSequence {
  /** [T][F], in the order of the manifest's features, as a stage with the manifest's own vocabularies would give them. */
  readonly rows: readonly Float32Array[]
  readonly scores: readonly (number | null)[]
}

export interface Golden {
  readonly source: string | undefined
  readonly tolerance: number
  readonly sequences: readonly GoldenSequence[]
}

export interface GoldenMiss {
  readonly sequence: number
  readonly row: number
  readonly expected: number
  readonly actual: number
}

export interface GoldenReport {
  readonly model: ScorerModel
  readonly manifest: Manifest
  readonly source: string | undefined
  readonly tolerance: number
  readonly sequences: number
  readonly compared: number
  readonly largestDifference: number
  readonly misses: readonly GoldenMiss[]
  /** What in the manifest would explain the misses; null = nothing simple. */
  readonly hint: string | null
  /** Rows whose bits differ between a run among all others and a run alone. */
  readonly dependent: number
  readonly microsecondsPerRow: number
  readonly deviceClass: string
  readonly passed: boolean
}

/** The vocabularies of a stage that numbers categories as the model does. */
export function ownCategories({ categories }: Manifest): Categories {
  return new Map(Object.entries(categories).map(([name, { values }]) => [name, values]))
}

/** Reads golden.json of a model's folder. Errors: MODEL_INVALID, naming file and place. */
export function readGolden({ folder, manifest }: Pick<LoadedModel, 'folder' | 'manifest'>): Golden {
  const path = join(folder, goldenFile)
  const refuse = (message: string, remedy: string, cause?: unknown): never => {
    throw new HarrierError('MODEL_INVALID', `${path}: ${message}`, { remedy, cause })
  }
  if (!existsSync(path)) {
    refuse('there is none', 'write {"tolerance": 1e-5, "sequences": [{"rows": [[<a number for each feature>], …], "scores": [<a score for each row>]}]}; docs/models.md shows how')
  }
  let document: unknown
  try {
    document = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    refuse(`is not JSON: ${messageOf(error)}`, 'write NaN and infinity as null, and no comma after the last item', error)
  }
  const parsed = goldenSchema.safeParse(document)
  if (!parsed.success) return refuse(parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${problemText(issue, goldenSchema, document)}`).join('; '), 'correct the named places')
  const { source, tolerance, sequences, features = manifest.features } = parsed.data
  const missing = manifest.features.filter((name) => !features.includes(name))
  if (missing.length > 0) refuse(`features: lacks ${missing.join(', ')}`, 'name a column for each feature of the manifest')
  const columns = manifest.features.map((name) => features.indexOf(name))
  return {
    source,
    tolerance,
    sequences: sequences.map(({ rows, scores }, s) => {
      if (scores.length !== rows.length) refuse(`sequences.${s}: ${rows.length} rows and ${scores.length} scores`, 'write a score for each row, null where it is not known')
      return {
        scores,
        rows: rows.map((row, r) => {
          const at = `sequences.${s}.rows.${r}`
          if (row.length !== features.length) refuse(`${at}: has ${row.length} numbers for ${features.length} features`, 'write one for each feature')
          return Float32Array.from(manifest.features, (name, f) => {
            const value = row[columns[f]!]!
            const category = manifest.categories[name]
            if (category) return category.values.map(String).indexOf(String(value)) + 1
            if (typeof value === 'number' || typeof value === 'boolean') return Number(value)
            return refuse(`${at}.${columns[f]!}: ${JSON.stringify(value)} is no number`, `write a number, or give "${name}" a vocabulary in the manifest's categories`)
          })
        }),
      }
    }),
  }
}

/** Rows of a frame while golden rows are scored. */
const rowsMax = 512

/** Scores the golden rows of a folder through the engine's own scorer. Errors: those of opening a model, and of `readGolden`. */
export async function testGolden(folder: string, options: { readonly device: DevicePolicy; readonly clock: Clock }): Promise<GoldenReport> {
  const model = loadModelFolder(folder)
  const { manifest } = model
  const golden = readGolden(model)
  const scorer = await createScorer({
    features: manifest.features,
    categories: ownCategories(manifest),
    window: manifest.window ?? 1,
    models: [{ model, role: 'champion' }],
    device: options.device,
    workers: 0,
    clock: options.clock,
    limits: { rowsMax },
    chunkSlots: 64,
  })
  try {
    const together = await scoreSequences(scorer, golden, 0, rowsMax)
    const alone = await scoreSequences(scorer, golden, golden.sequences.length, 1)
    const startMs = options.clock.monotonicMs()
    await scoreSequences(scorer, golden, golden.sequences.length * 2, rowsMax)
    const rows = together.reduce((sum, scores) => sum + scores.length, 0)
    const microsecondsPerRow = ((options.clock.monotonicMs() - startMs) * 1000) / rows
    const dependent = together.flatMap((scores, s) => [...scores].filter((score, row) => !Object.is(score, alone[s]![row]))).length
    const compared = golden.sequences.flatMap(({ scores }, sequence) => {
      return scores.flatMap((expected, row) => (expected === null ? [] : [{ sequence, row, expected, actual: together[sequence]![row]! }]))
    })
    const isMiss = ({ expected, actual }: GoldenMiss): boolean => !(Math.abs(expected - actual) <= golden.tolerance)
    const misses = compared.filter(isMiss)
    return {
      model: scorer.models[0]!,
      manifest,
      source: golden.source,
      tolerance: golden.tolerance,
      sequences: golden.sequences.length,
      compared: compared.length,
      largestDifference: compared.reduce((largest, { expected, actual }) => Math.max(largest, Math.abs(expected - actual)), 0),
      misses,
      hint: misses.length > 0 ? hintOf(manifest, compared, isMiss) : null,
      dependent,
      microsecondsPerRow,
      deviceClass: scorer.deviceClass,
      passed: misses.length === 0 && dependent === 0 && compared.length > 0,
    }
  } finally {
    await scorer.close()
  }
}

/** [S][T] scores; `slot`: that of the first sequence. Row t of every sequence comes before row t + 1 of any. */
async function scoreSequences(scorer: Scorer, { sequences }: Golden, slot: number, frameRows: number): Promise<Float32Array[]> {
  const scores = sequences.map(({ rows }) => new Float32Array(rows.length))
  const order = sequences.flatMap(({ rows }, sequence) => rows.map((_, row) => ({ sequence, row })))
  if (frameRows > 1) order.sort((a, b) => a.row - b.row || a.sequence - b.sequence)
  for (let from = 0; from < order.length; from += frameRows) {
    const part = order.slice(from, from + frameRows)
    const frame = scorer.acquireFrame()!
    frame.count = part.length
    part.forEach(({ sequence, row }, at) => {
      const values = sequences[sequence]!.rows[row]!
      frame.rows.set(values, at * values.length)
      frame.slot[at] = slot + sequence
      frame.flags[at] = 0
      frame.eventTime[at] = row
    })
    await scorer.score(frame)
    if (frame.failures.length > 0) throw new HarrierError('MODEL_FAILED', frame.failures[0]!.message)
    part.forEach(({ sequence, row }, at) => (scores[sequence]![row] = frame.scores[0]![at]!))
    scorer.releaseFrame(frame)
  }
  return scores
}

/** Mistakes of a manifest that show in the scores themselves. */
function hintOf({ score, window = 1, padding }: Manifest, compared: readonly GoldenMiss[], isMiss: (pair: GoldenMiss) => boolean): string | null {
  const explains = (change: (actual: number) => number): boolean => compared.every((pair) => !isMiss({ ...pair, actual: change(pair.actual) }))
  if (score.meaning === 'probability' && explains((actual) => 1 / (1 + Math.exp(-actual)))) return 'the output is a logit: write score: {meaning: logit}'
  const already = 'the output is a probability already: write meaning: probability'
  const logit = (actual: number): number => Math.log(actual / (1 - actual))
  if (score.meaning === 'logit' && explains(logit)) return already
  // the softmax of p and 1 - p
  if (score.meaning === 'logits' && explains((actual) => (logit(actual) + 1) / 2)) return already
  if (explains((actual) => 1 - actual)) return `the scores are those of the other class: write score: {column: ${score.column === 0 ? 1 : 0}}`
  const isFull = ({ row }: GoldenMiss): boolean => row >= window - 1
  const missed = (pairs: readonly GoldenMiss[]): number => (pairs.length === 0 ? 1 : pairs.filter(isMiss).length / pairs.length)
  if (window > 1 && missed(compared.filter(isFull)) === 0 && missed(compared.filter((pair) => !isFull(pair))) > 0.5) {
    return `only windows that are not full differ: write padding: ${padding === 'left' ? 'right' : 'left'}`
  }
  return null
}
