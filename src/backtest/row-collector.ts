import { isText } from '../codec/field-spec.js'
import { TextSlices } from '../replay/text-slices.js'
import type { Batch } from '../topology/batch.js'
import type { Topology } from '../topology/load-topology.js'
import { Outputs } from '../topology/outputs.js'
import { ordinalOf, isFraudOf } from '../topology/row-tag.js'
import type { Stage } from '../topology/stage.js'
import type { TaggedBatch } from '../topology/stage-chain.js'
import { eventIdField } from '../topology/topology-schema.js'
import type { LossSpec } from './backtest-options.js'
import type { RowAppender } from './score-table.js'

export interface CollectedCounts {
  measured: number
  warmUp: number
  refused: number
  /** Cause of the first record that was not scored. */
  firstRefusal: string | undefined
}

interface CollectorOptions {
  readonly appender: RowAppender
  readonly sinceMs: number
  readonly untilMs: number
  /** Null in a what-if's own run, whose rows only have a decision and scores. */
  readonly loss: LossSpec | null
  /** Other thresholds or fall-back over the same scores. */
  readonly whatIf: Topology | undefined
}

/** Takes scored batches of the last stage: decides by the engine's own code and writes a row for each event of the measured range. */
export class RowCollector {
  readonly counts: CollectedCounts = { measured: 0, warmUp: 0, refused: 0, firstRefusal: undefined }
  readonly #stage: Stage
  readonly #options: CollectorOptions
  readonly #outputs: Outputs
  readonly #whatIf: Outputs | undefined
  readonly #texts: { readonly id: number; readonly card: number; readonly entity: number }
  readonly #lossColumn: number
  readonly #rows: Int32Array

  constructor(stage: Stage, options: CollectorOptions) {
    const { topology } = stage
    this.#stage = stage
    this.#options = options
    this.#outputs = deciding(stage)
    this.#whatIf = options.whatIf && deciding({ topology: options.whatIf, scorer: stage.scorer })
    const column = (name: string): number => topology.fields.findIndex((field) => field.name === name)
    this.#texts = { id: column(eventIdField), card: column(cardFieldOf(topology)), entity: column(topology.stage.key) }
    this.#lossColumn = options.loss && 'field' in options.loss ? column(options.loss.field) : -1
    this.#rows = new Int32Array(topology.spec.limits.batchRecordsMax)
  }

  refuse({ causes }: Batch): void {
    const { counts } = this
    counts.refused += causes.size
    counts.firstRefusal ??= [...causes.values()][0]?.message
  }

  /** Whether an event of the batch lies in the measured range: if not, models that carry no state need not run. */
  isMeasured({ frame }: Batch): boolean {
    const { sinceMs, untilMs } = this.#options
    for (let at = 0; at < frame!.count; at++) if (frame!.eventTime[at]! >= sinceMs && frame!.eventTime[at]! < untilMs) return true
    return false
  }

  take({ batch, tags }: TaggedBatch): void {
    const { sinceMs, untilMs, loss } = this.#options
    const frame = batch.frame!
    const rows = this.#rows
    let count = 0
    for (let at = 0; at < frame.count; at++) {
      const timeMs = frame.eventTime[at]!
      if (timeMs >= sinceMs && timeMs < untilMs) rows[count++] = batch.recordRow[at]!
    }
    this.counts.warmUp += frame.count - count
    this.counts.measured += count
    if (count === 0) return
    const measured = rows.subarray(0, count)
    this.#outputs.decide(batch)
    const { outcome, events, records } = batch
    const gathered = <A extends Float32Array | Float64Array | Int32Array | Uint8Array>(into: A, valueOf: (row: number) => number): A => {
      for (let i = 0; i < count; i++) into[i] = valueOf(measured[i]!)
      return into
    }
    const models = this.#stage.scorer.models.length
    const ordinal = gathered(new Float64Array(count), (row) => ordinalOf(tags[row]!))
    const decision = gathered(new Uint8Array(count), (row) => outcome.decision[row]!)
    const scores = Array.from({ length: models }, (_, m) => gathered(new Float32Array(count), (row) => outcome.scores[row * models + m]!))
    if (!loss) return this.#options.appender.write([ordinal, decision, ...scores], count)
    const text = (column: number): TextSlices => {
      const [at, bytes] = [events.textAt[column]!, events.textBytes[column]!]
      return new TextSlices(records.arena.bytes, gathered(new Int32Array(count), (row) => at[row]!), gathered(new Int32Array(count), (row) => bytes[row]!))
    }
    const { id, card, entity } = this.#texts
    const cards = text(card)
    const lossOf = 'field' in loss ? (row: number) => events.numbers[this.#lossColumn]![row]! * loss.factor : () => loss.each
    const values = [
      ordinal, text(id), cards, ...(card === entity ? [] : [text(entity)]), gathered(new Float64Array(count), (row) => frame.eventTime[batch.frameRow[row]!]!),
      gathered(new Uint8Array(count), (row) => batch.late[row]!), gathered(new Uint8Array(count), (row) => labelCodeOf(tags[row]!)), gathered(new Float64Array(count), lossOf),
      decision, gathered(new Uint8Array(count), (row) => outcome.decider[row]!), ...scores,
    ]
    if (!this.#whatIf) return this.#options.appender.write(values, count)
    this.#whatIf.decide(batch)
    this.#options.appender.write([...values, gathered(new Uint8Array(count), (row) => outcome.decision[row]!)], count)
  }
}

/** Whether the last stage's entity is the card itself. */
export function isCardStage(topology: Topology): boolean {
  return topology.stage.key === cardFieldOf(topology)
}

/** What an alert is about in the end: the key of the first stage, which every stage knows. */
export function cardFieldOf({ chain }: Topology): string {
  return chain[0]!.stage.key
}

function labelCodeOf(tag: number): number {
  const isFraud = isFraudOf(tag)
  return isFraud === null ? 0 : isFraud ? 2 : 1
}

/** Of the engine's outputs only the decisions are wanted: nothing is encoded. */
function deciding(stage: Pick<Stage, 'topology' | 'scorer'>): Outputs {
  return new Outputs(stage, {
    schemaIds: { lineage: 0 },
    inputTopic: '',
    partitions: 1,
    transactionalId: '',
    engine: { harrier: '', onnxruntime: '', node: '', device_class: '' },
  })
}

/** Errors: none; undefined where the field is no number of the last stage's events. */
export function isNumberField(topology: Topology, name: string): boolean {
  const field = topology.fields.find((each) => each.name === name)
  return field !== undefined && !isText(field)
}
