import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import type { Explanation } from '../src/inference/explainer.js'
import type { LoadedModel } from '../src/inference/loaded-model.js'
import { ModelStore } from '../src/inference/model-store.js'
import { reasonLimits, reasonsDefault } from '../src/inference/reason-limits.js'
import { createScorer } from '../src/inference/create-scorer.js'
import { CounterSource } from '../src/simulator/counter-source.js'
import { secondsPerDay } from '../src/simulator/parameters.js'
import type { Batch } from '../src/topology/batch.js'
import type { Topology } from '../src/topology/load-topology.js'
import { modelsFolder, stageCategories } from '../src/topology/open-scorer.js'
import { Outputs } from '../src/topology/outputs.js'
import { Stage } from '../src/topology/stage.js'
import { median } from './meter.js'

export interface ReasonsBenchOptions {
  readonly topology: Topology
  readonly models?: string | undefined
  readonly events: number
  readonly repeats: number
  readonly onStep: (text: string) => void
}

/** What reasons of one champion cost, and how near they are to many more orders. */
export interface ReasonsOfModel {
  readonly model: string
  readonly alertShare: number
  /** Fold, score, decide and encode, without a broker; medians. */
  readonly perSecondOff: number
  readonly perSecondOn: number
  /** Time of the scoring thread for one explained event. */
  readonly microsPerExplained: number
  readonly extraRowsPerExplained: number
  /** Alerts whose first reason is the one that `orderPairsMax` pairs of orders give, and the root mean square by which contributions differ, as a part of their own. */
  readonly firstReasonAgrees: number
  readonly contributionError: number
}

export interface ReasonsBenchResult {
  readonly events: number
  readonly repeats: number
  readonly models: readonly ReasonsOfModel[]
}

/** Few enough cards that their rings are full for most of the run. */
const cards = 600
const epochMs = 1_522_540_800_000
const framesMax = 4
const workers = 1

/** Runs the stage of a topology over simulated payments with each of its models as champion: reasons on and off, in turns. */
export async function benchReasons({ topology, models, events, repeats, onStep }: ReasonsBenchOptions): Promise<ReasonsBenchResult> {
  const records = drawRecords(events)
  const store = new ModelStore(models ?? modelsFolder)
  const references = [topology.stage.models.champion!, ...topology.stage.models.shadows]
  const results: ReasonsOfModel[] = []
  for (const reference of references) {
    const model = store.load(reference)
    const runs = { on: [] as Measured[], off: [] as Measured[] }
    for (let run = 0; run < repeats; run++) {
      runs.off.push(await measure(withReasons(topology, model, 0), model, records))
      runs.on.push(await measure(withReasons(topology, model, topology.stage.policy.reasons || 3), model, records))
      onStep(`${reference} run ${run + 1} of ${repeats}: ${rate(runs.off.at(-1)!)} events/s without, ${rate(runs.on.at(-1)!)} with reasons`)
    }
    const { explained, alerts } = runs.on[0]!
    const part = records.slice(0, Math.ceil(records.length / 4))
    const all = withReasons(topology, model, reasonLimits.topMax)
    const own = await measure(all, model, part)
    const fine = await measure(all, withPairs(model, reasonLimits.orderPairsMax), part)
    results.push({
      model: reference,
      alertShare: alerts / records.length,
      perSecondOff: median(runs.off.map(({ perSecond }) => perSecond)),
      perSecondOn: median(runs.on.map(({ perSecond }) => perSecond)),
      microsPerExplained: median(runs.on.map((each) => (each.explained.computeMs * 1000) / each.explained.events)),
      extraRowsPerExplained: explained.rows / explained.events,
      ...compare(own.explanations, fine.explanations),
    })
  }
  return { events: records.length, repeats, models: results }
}

interface Payment {
  readonly key: Buffer
  readonly value: Buffer
  readonly timestampMs: number
}

function drawRecords(events: number): Payment[] {
  const source = new CounterSource({ customers: cards, terminals: 2 * cards, days: 2000 })
  const records: Payment[] = []
  for (const chunk of source.chunks({ fromDay: 0, toDay: 2000 })) {
    for (let i = 0; i < chunk.count; i++) {
      const timestampMs = epochMs + chunk.seconds[i]! * 1000
      const customer = String(chunk.customer[i])
      const value = { transaction_id: chunk.firstId + i, event_time: timestampMs, customer_id: customer, terminal_id: String(chunk.terminal[i]), amount_minor: chunk.amountCents[i] }
      records.push({ key: Buffer.from(customer), value: Buffer.from(JSON.stringify(value)), timestampMs })
      if (records.length === events) return records
    }
    if (chunk.seconds[0]! > 1999 * secondsPerDay) break
  }
  return records
}

/** The topology over JSON, with one model that decides by thresholds of its own, where its manifest has them. */
function withReasons(topology: Topology, { manifest, reference }: LoadedModel, reasons: number): Topology {
  const { spec, stage } = topology
  const thresholds = manifest.metrics?.['thresholds'] as Record<'review' | 'decline', { threshold: number }> | undefined
  const own = thresholds ? { review: thresholds.review.threshold, decline: thresholds.decline.threshold } : {}
  return {
    ...topology,
    readerSchema: undefined,
    spec: { ...spec, source: { ...spec.source, format: 'json' } },
    stage: { ...stage, models: { ...stage.models, champion: reference, shadows: [] }, policy: { ...stage.policy, ...own, fallback: 'review', reasons } },
  }
}

function withPairs(model: LoadedModel, orderPairs: number): LoadedModel {
  return { ...model, manifest: { ...model.manifest, reasons: { ...(model.manifest.reasons ?? reasonsDefault), orderPairs } } }
}

interface Measured {
  readonly perSecond: number
  readonly alerts: number
  readonly explained: { readonly events: number; readonly rows: number; readonly computeMs: number }
  /** By record. */
  readonly explanations: ReadonlyMap<number, Explanation>
}

async function measure(topology: Topology, model: LoadedModel, records: readonly Payment[]): Promise<Measured> {
  const { stage: spec } = topology
  const { batchRecordsMax } = topology.spec.limits
  const scorer = await createScorer({
    features: spec.features.map(({ name }) => name),
    categories: stageCategories(spec),
    window: spec.ring,
    models: [{ model, role: 'champion' }],
    device: 'cpu',
    workers,
    clock: systemClock,
    logger: silentLogger,
    limits: { rowsMax: batchRecordsMax, framesMax },
  })
  const stage = new Stage(topology, scorer, undefined)
  stage.addTask(0).isReady = true
  const engine = { harrier: '', onnxruntime: '', node: '', device_class: '' }
  const outputs = new Outputs(stage, { schemaIds: { scored: 1, alert: 2, lineage: 3 }, inputTopic: 'bench', partitions: 1, transactionalId: 'bench', engine })
  const explanations = new Map<number, Explanation>()
  const inFlight: { batch: Batch; scored: Promise<void>; from: number }[] = []
  const free = Array.from({ length: 2 }, () => stage.makeBatch())
  let alerts = 0
  const finish = async (): Promise<void> => {
    const { batch, scored, from } = inFlight.shift()!
    await scored
    outputs.decide(batch)
    outputs.encode(batch)
    for (const [row, explanation] of batch.frame!.explanations) explanations.set(from + row, explanation)
    for (const part of batch.parts) alerts += part.alerts
    stage.commit(batch)
    free.push(batch)
  }
  const startMs = systemClock.monotonicMs()
  for (let from = 0; from < records.length; from += batchRecordsMax) {
    if (free.length === 0) await finish()
    const batch = free.pop()!
    batch.reset()
    for (let i = from; i < Math.min(records.length, from + batchRecordsMax); i++) batch.records.append(0, 0, i, records[i]!.timestampMs, records[i]!.key, records[i]!.value)
    stage.fold(batch)
    inFlight.push({ batch, scored: stage.score(batch), from })
  }
  while (inFlight.length > 0) await finish()
  const perSecond = (records.length * 1000) / (systemClock.monotonicMs() - startMs)
  const { explained } = scorer.metrics()
  await scorer.close()
  return { perSecond, alerts, explained, explanations }
}

function compare(own: ReadonlyMap<number, Explanation>, fine: ReadonlyMap<number, Explanation>): { firstReasonAgrees: number; contributionError: number } {
  let agreeing = 0
  let squares = 0
  let errors = 0
  for (const [record, { top }] of own) {
    const other = fine.get(record)!.top
    if (top[0]?.text === other[0]?.text) agreeing++
    for (const { text, contribution } of other) {
      const same = top.find((each) => each.text === text)
      squares += contribution ** 2
      errors += (contribution - (same?.contribution ?? 0)) ** 2
    }
  }
  return { firstReasonAgrees: agreeing / own.size, contributionError: Math.sqrt(errors / squares) }
}

function rate({ perSecond }: Measured): string {
  return Math.round(perSecond).toLocaleString('en')
}
