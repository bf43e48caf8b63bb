import { Fault, faultErrorCode } from '../codec/decode-fault.js'
import { encodeExplanation } from '../codec/explanation-encoder.js'
import { encodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import { OutputTokens } from '../codec/output-tokens.js'
import { Decision } from '../codec/outcome-columns.js'
import { appendDeadLetter } from '../consumer/dead-letter.js'
import type { ScoringModels } from '../inference/scorer.js'
import { decideAt, decideByRule } from '../policy/policy.js'
import type { SealKey } from '../privacy/sealed-letter.js'
import type { TokenKey } from '../privacy/tokeniser.js'
import type { BatchTracing } from './batch-tracing.js'
import { Disposition, type AppliedLabel, type Batch } from './batch.js'
import { Forwarding } from './forwarding.js'
import type { Topology } from './load-topology.js'
import { ModelOutputs, type ModelOutputsOptions } from './model-outputs.js'
import { silentHeader } from './control-record.js'
import { Sink } from './names.js'
import { passContextHeaders, passHeaders } from './passed-headers.js'
import type { Stage } from './stage.js'
import type { TaskPart } from './task.js'
import { eventIdField, eventTimeField } from './topology-schema.js'

const reasonTexts = [
  'score at or above the decline threshold',
  'score at or above the review threshold',
  'the champion gave no score: the fall-back decided',
  'late event: state was not updated',
  'no reasons were computed',
  'the challenger gave no score: the champion decided',
]
const Reason = { decline: 1, review: 2, fallback: 4, late: 8, unexplained: 16, noChallenger: 32 } as const

export interface OutputOptions {
  /** `forward` where there is a next stage, `scored` and `alert` where there is none. */
  readonly schemaIds: { readonly scored?: number | undefined; readonly alert?: number | undefined; readonly lineage: number; readonly forward?: number | undefined }
  readonly inputTopic: string
  readonly labelsTopic?: string | undefined
  /** Of the input, and so of every topic of the topology. */
  readonly partitions: number
  readonly transactionalId: string
  readonly engine: LineageRecord['engine']
  /** Absent: headers of traces pass unchanged. */
  readonly tracing?: BatchTracing | undefined
  /** Keys of tokens in force, oldest first; without them personal values go as they are. */
  readonly tokens?: readonly TokenKey[] | undefined
  /** Dead letters are encrypted under it; absent: they go as they came. */
  readonly seal?: SealKey | undefined
}

/** Steps 6 and 7 of the batch cycle: from scores to decisions, and from those to the records of the transaction. */
export class Outputs {
  readonly #topology: Topology
  readonly #options: OutputOptions
  readonly #forward: Forwarding | null
  readonly #modelOptions: ModelOutputsOptions
  /** Of the models that scored the last batch: it is made anew when others have taken over. */
  #own: ModelOutputs
  /** Column of the field that the fall-back rule reads; -1: none. */
  readonly #ruleColumn: number
  readonly #keyColumn: number
  /** Domain of the entity's tokens; -1: it is not personal. */
  readonly #keyDomain: number
  /** Null where nothing is personal, or before the last stage: what a stage passes on is the engine's own. */
  readonly #tokens: OutputTokens | null

  constructor(stage: Pick<Stage, 'topology' | 'scorer'>, options: OutputOptions) {
    const { topology, scorer } = stage
    const { policy, key } = topology.stage
    const { fallback } = policy
    this.#topology = topology
    this.#options = options
    this.#ruleColumn = typeof fallback === 'object' && 'rule' in fallback ? topology.fields.findIndex((field) => field.name === fallback.rule.field) : -1
    const { personal } = topology
    this.#keyColumn = topology.fields.findIndex((field) => field.name === key)
    this.#tokens = options.tokens && personal?.tokens && !topology.forward ? new OutputTokens(options.tokens, personal.domains) : null
    this.#keyDomain = this.#tokens?.domainOf(key) ?? -1
    const shape = {
      fields: topology.fields,
      eventId: eventIdField,
      entity: key,
      eventTime: eventTimeField,
      reasons: reasonTexts,
      attributes: policy.attributes,
      tokens: this.#tokens ?? undefined,
    }
    const { scored, alert, forward } = options.schemaIds
    this.#modelOptions = {
      shape,
      scoredId: scored,
      alertId: alert,
      fallback: typeof fallback === 'object' && 'model' in fallback ? fallback.model : undefined,
      entityColumn: this.#keyColumn,
    }
    this.#own = new ModelOutputs(scorer.inForce, this.#modelOptions)
    this.#forward = forward === undefined ? null : new Forwarding(topology, forward, options.partitions)
  }

  /** What goes with the models that scored the batch. */
  #of({ frame }: Batch): ModelOutputs {
    if (frame!.models !== this.#own.models) this.#own = new ModelOutputs(frame!.models, this.#modelOptions)
    return this.#own
  }

  /**
   * Step 6: the champion's score decides, or the challenger's for its share of the entities; where both are missing, the topology's
   * fall-back does.
   */
  decide(batch: Batch): void {
    const { outcome, frame, events } = batch
    const { policy } = this.#topology.stage
    const own = this.#of(batch)
    const models = own.count
    const { bytes } = batch.records.arena
    let unexplained = this.#topology.spec.limits.explainedEventsMax
    outcome.reset(batch.records.count, models)
    for (let row = 0; row < batch.records.count; row++) {
      const at = batch.frameRow[row]!
      if (at < 0) continue
      for (let m = 0; m < models; m++) outcome.scores[row * models + m] = frame!.scores[m]![at]!
      const chosen = own.decider(bytes, events, row)
      let decider = chosen
      const first = row * models
      if (decider > 0 && !hasScore(outcome.scores, first + decider)) decider = 0
      if (own.fallback >= 0 && !hasScore(outcome.scores, first + decider)) decider = own.fallback
      let decision: number
      if (models > 0 && hasScore(outcome.scores, first + decider)) {
        outcome.score[row] = outcome.scores[first + decider]!
        decision = decideAt(outcome.score, row, policy)
      } else {
        outcome.score[row] = -1
        if (typeof policy.fallback === 'object' && 'rule' in policy.fallback) {
          decider = models
          decision = decideByRule(events.numbers[this.#ruleColumn]![row]!, policy.fallback.rule)
        } else {
          decider = models + 1
          decision = Decision.review
        }
      }
      outcome.decision[row] = decision
      outcome.decider[row] = decider
      outcome.chosen[row] = chosen
      outcome.fallback[row] = decider === chosen ? 0 : 1
      outcome.late[row] = batch.late[row]!
      outcome.reasons[row] =
        (decision === Decision.decline ? Reason.decline : decision === Decision.review ? Reason.review : 0) |
        (decider === chosen ? 0 : decider === 0 ? Reason.noChallenger : Reason.fallback) |
        (batch.late[row] === 1 ? Reason.late : 0)
      // A model stands in for the one whose turn it was: its score has no reasons, but for the champion's.
      if ((decider !== chosen && decider > 0) || decision === Decision.approve || policy.reasons === 0) continue
      // Workers count for themselves: here the limit holds for the batch, whoever scored.
      const explanation = unexplained-- > 0 ? frame!.explanations.get(at) : undefined
      if (explanation) outcome.explanations.set(row, encodeExplanation({ ...explanation, reasons: explanation.top }))
      else outcome.reasons[row]! |= Reason.unexplained
    }
  }

  /**
   * Step 7, the part without Kafka: for each event a scored event (or, before the last stage, what the next one gets) or a
   * dead letter, alerts, a lineage record for each task.
   */
  encode(batch: Batch): void {
    const { scored, alerts } = this.#of(batch)
    batch.outputs.makeRoom(2 * batch.records.count + batch.labels.length + 2 * batch.parts.length)
    batch.early.makeRoom(2 * batch.records.count)
    for (const part of batch.parts) {
      scored?.setLineage(part.task.name, part.sequence)
      alerts?.setLineage(part.task.name, part.sequence)
      for (let row = part.firstRow; row >= 0; row = batch.nextRow[row]!) {
        for (let i = 0; i < batch.labelCount[row]!; i++) this.#passLabel(batch, part, batch.labels[batch.labelStart[row]! + i]!)
        if (batch.disposition[row] === Disposition.label) this.#forward?.forwardedLabel(batch, part.task.partition, row)
        const disposition = batch.disposition[row]
        if (disposition === Disposition.control || disposition === Disposition.label || disposition === Disposition.folded) continue
        if (disposition === Disposition.deadLetter) {
          const { code, message, bare } = batch.causes.get(row)!
          const record = { columns: batch.records, row, topic: this.#options.inputTopic }
          appendDeadLetter(batch.outputs, { topicIndex: Sink.deadLetters }, record, { exception: code, message, bare }, this.#options.seal)
          continue
        }
        if (this.#forward) {
          this.#forward.event(batch, part.task.partition, row, this.#options.tracing)
          continue
        }
        if (batch.outcome.fallback[row] === 1) part.fallbacks++
        const scoredRow = this.#begin(batch, Sink.scored, row)
        scored!.encode(batch.early, scoredRow, batch.records, batch.events, batch.outcome, row)
        if (batch.outcome.decision[row] === Decision.approve) continue
        part.alerts++
        const alertRow = this.#begin(batch, Sink.alerts, row)
        alerts!.encode(batch.early, alertRow, batch.records, batch.events, batch.outcome, row)
      }
      if (part.before) this.#appendLineage(batch, part.before, true)
      this.#appendLineage(batch, part, false)
    }
  }

  /** A label goes on to the next stage; one that cannot be read is a dead letter. */
  #passLabel(batch: Batch, part: TaskPart, label: AppliedLabel): void {
    const { records, labels } = label.chunk
    const fault = labels.fault[label.row]!
    if (fault === Fault.none) return this.#forward?.label(batch, part.task.partition, label)
    const cause = { exception: faultErrorCode(fault), message: labels.faultMessage(label.row), bare: labels.bareFaultMessage(label.row) }
    appendDeadLetter(batch.outputs, { topicIndex: Sink.deadLetters }, { columns: records, row: label.row, topic: this.#options.labelsTopic! }, cause, this.#options.seal)
  }

  /** A batch of a rebuild: it changed state, and only its lineage says so. */
  encodeSilently(batch: Batch): void {
    for (const part of batch.parts) this.#appendLineage(batch, part, true)
  }

  /**
   * A row of an output with the key and the headers of its input record, for the partition of its input. Where the entity is personal its
   * token is the key; the partition is that of the input all the same, so that no key of tokens moves a record.
   */
  #begin(batch: Batch, sink: number, row: number): number {
    const { records, early: outputs } = batch
    const outRow = outputs.begin(sink, records.partition[row]!, 0, records.timestamp[row]!)
    if (this.#keyDomain < 0) outputs.copyKey(outRow, records.arena.bytes, records.keyAt[row]!, records.keyBytes[row]!)
    else {
      const { tokeniser } = this.#tokens!
      const token = tokeniser.find(this.#keyDomain, records.arena.bytes, batch.events.textAt[this.#keyColumn]![row]!, batch.events.textBytes[this.#keyColumn]![row]!)
      outputs.copyKey(outRow, tokeniser.bytes, token, tokeniser.tokenBytes[0]!)
    }
    if (this.#tokens === null) passHeaders(outputs, records, row)
    else passContextHeaders(outputs, records, row)
    this.#options.tracing?.event(batch, outputs, row)
    return outRow
  }

  #appendLineage(batch: Batch, part: TaskPart, silent: boolean): void {
    const { outputs } = batch
    // A model that fails ends a silent fold.
    const failures = new Map(silent ? [] : batch.frame!.failures.map((failure) => [failure.model, `${failure.kind}: ${failure.message}`]))
    const { task } = part
    const { aheadMax } = this.#topology.spec.source
    const { models, release }: ScoringModels = part.models ?? batch.frame!.models
    const value = encodeLineage(this.#options.schemaIds.lineage, {
      task: task.name,
      sequence: part.sequence,
      inputs: [
        { topic: this.#options.inputTopic, partition: task.partition, from: part.from, to: part.to },
        ...(task.labels ? [{ topic: this.#options.labelsTopic!, partition: task.partition, from: part.labelsFrom, to: part.labelsTo }] : []),
      ],
      counts: {
        records: part.records,
        scored: part.scored + part.turned,
        turned: part.turned,
        unscored: part.unscored,
        alerts: part.alerts,
        dead_letters: part.deadLetters,
        late: part.late,
        fallbacks: part.fallbacks,
        labels: part.labels.applied,
        labels_repeated: part.labels.repeated,
        labels_conflicting: part.labels.conflicting,
        labels_unknown: part.labels.unknown,
      },
      models: models.map((model, index) => ({
        role: model.role,
        share: model.share,
        model: model.reference,
        sha256: model.sha256,
        manifest: model.manifestDigest,
        epoch: model.epoch,
        device: model.device,
        failure: failures.get(index) ?? null,
      })),
      release,
      digests: { ...this.#topology.digests },
      stream_time_before: part.streamTimeBefore,
      stream_time_after: part.streamTimeAfter,
      turns_before: part.turnsBefore,
      turns_after: part.turnsAfter,
      upstream_stream_times_before: part.upstreamBefore ? [...part.upstreamBefore] : [],
      upstream_stream_times_after: part.upstreamAfter ? [...part.upstreamAfter] : [],
      oldest_dirty: part.oldestDirty,
      transactional_id: this.#options.transactionalId,
      engine: this.#options.engine,
      unknown_schema_ids: [...part.unknownSchemaIds],
      ahead_max_ms: aheadMax === Infinity ? null : aheadMax,
      tokens: silent ? [] : [...(this.#tokens?.names ?? [])],
      silent,
    })
    const row = outputs.begin(Sink.lineage, task.partition, 0, part.lastRow < 0 ? part.streamTimeAfter : batch.records.timestamp[part.lastRow]!)
    const key = Buffer.from(task.name)
    outputs.setKey(row, outputs.arena.append(key), key.length)
    outputs.setValue(row, outputs.arena.append(value), value.length)
    if (silent) outputs.appendHeader(silentHeader, '1')
  }
}

function hasScore(scores: Float32Array, at: number): boolean {
  return Number.isFinite(scores[at])
}
