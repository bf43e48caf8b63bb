import { formatDuration } from '../base/durations.js'
import { storeNeeds } from '../features/feature-program.js'
import type { FeatureSpec } from '../features/feature-spec.js'
import { hiddenFloatsOf } from '../inference/manifest.js'
import { ModelStore } from '../inference/model-store.js'
import { SequenceMemory } from '../inference/sequence-memory.js'
import { EntityStore } from '../entity/entity-store.js'
import { turnsDays } from './day-calendar.js'
import { publishesEarly } from './delivery.js'
import { guardrailTexts } from './guardrail-spec.js'
import type { Topology } from './load-topology.js'
import { isPersonal } from './personal-fields.js'
import { topologyNames, type TopologyNames } from './names.js'
import { modelsFolder, modelUses } from './open-scorer.js'

export interface DescribeOptions {
  readonly mermaid?: boolean
  readonly json?: boolean
  readonly namespace?: string
  readonly models?: string
}

/** Text for people, Mermaid for documents, JSON for machines. */
export function describeTopology(topology: Topology, options: DescribeOptions = {}): string {
  const stages = topology.chain.map((stage) => describedStage(stage, options))
  if (options.mermaid) return mermaidOf(stages)
  if (options.json) {
    const { spec, name, digests } = topology
    const [first] = stages
    const described = stages.map(({ view, names, sections, total }) => ({ stage: view.stageName, names: { ...names }, digests: view.digests, bytesPerEntity: total, sections }))
    return `${JSON.stringify({ name, names: { ...first!.names }, digests, spec, bytesPerEntity: first!.total, sections: first!.sections, stages: described }, null, 2)}\n`
  }
  return textOf(stages)
}

interface DescribedStage {
  readonly view: Topology
  readonly names: TopologyNames
  readonly uses: ReturnType<typeof modelUses>
  readonly sections: { name: string; bytes: number }[]
  readonly total: number
}

function describedStage(view: Topology, options: DescribeOptions): DescribedStage {
  const uses = modelUses(view, new ModelStore(options.models ?? modelsFolder))
  const sections = slotSections(view, uses)
  return { view, names: topologyNames(view, options.namespace), uses, sections, total: sections.reduce((sum, { bytes }) => sum + bytes, 0) }
}

function mermaidOf(stages: readonly DescribedStage[]): string {
  const lines = ['flowchart LR', `  input[/"${stages[0]!.names.input}"/] --> ${idOf(stages[0]!)}`]
  if (stages[0]!.names.labels !== undefined) lines.push(`  labels[/"${stages[0]!.names.labels}"/] --> ${idOf(stages[0]!)}`)
  for (const stage of stages) {
    const { view, names, uses } = stage
    const { stage: spec, stageName, forward, place } = view
    const id = idOf(stage)
    lines.push(`  ${id}["${stageName}: key ${spec.key}<br/>${spec.features.length} features, ring of ${spec.ring}${turnsDays(spec) ? ` days<br/>${scoredText(spec)}` : ''}"]`)
    const then = forward ? `hop${place}` : 'policy'
    lines.push(...uses.flatMap(({ model, role }, index) => [`  ${id} --> m${place}_${index}(["${model.reference}<br/>${role}"])`, `  m${place}_${index} --> ${then}`]))
    if (uses.length === 0) lines.push(`  ${id} --> ${then}`)
    if (forward) lines.push(`  hop${place}[/"${names.forward}"/] --> ${idOf(stages[place + 1]!)}`)
    else {
      lines.push(`  policy{"review >= ${spec.policy.review}<br/>decline >= ${spec.policy.decline}"}`)
      lines.push(...(['scored', 'alerts'] as const).map((sink) => `  policy --> ${sink}[/"${names[sink]}"/]`))
    }
    lines.push(`  ${id} --> dlq[/"${names.deadLetters}"/]`, `  ${id} --> lineage[/"${names.lineage}"/]`)
  }
  return [...lines, ''].join('\n')
}

function idOf({ view }: DescribedStage): string {
  return `stage${view.place}`
}

function textOf(stages: readonly DescribedStage[]): string {
  const [{ view, names }] = stages as [DescribedStage]
  const lines: string[] = [`${view.name}  (${view.file})`, '']
  const table = (title: string, rows: string[][]): void => {
    const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
    lines.push(title, ...rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd()), '')
  }
  type Declared = Readonly<Record<string, { type: string; path: string; personal?: boolean | string | undefined }>>
  const fieldRows = (fields: Declared): string[][] => Object.entries(fields).map(([name, field]) => [name, field.type, `<- ${field.path}${isPersonal(field) ? ', personal' : ''}`])
  table(`source  ${names.input}  (${view.spec.source.format})`, fieldRows(view.spec.source.fields))
  lines.splice(-1, 0, `  event times at most ${formatDuration(view.spec.source.aheadMax)} ahead of the records' timestamps`)
  if (view.labels) table(`labels  ${names.labels}  (${view.labels.spec.format})`, fieldRows(view.labels.spec.fields))
  for (const { view: stageView, uses, sections, total, names: own } of stages) {
    const { stage, stageName, forward, place } = stageView
    lines.push(
      `stage ${stageName}  keyed by ${stage.key}${place === 0 ? '' : `, events from ${own.input}`}`,
      `  grace ${formatDuration(stage.grace)}, ttl ${formatDuration(stage.ttl)}, late events: ${stage.late}, ring of ${stage.ring} rows`,
      '',
    )
    if (turnsDays(stage)) lines.push(`  ${scoredText(stage)}`, '')
    table(`features  (one float32 row for each ${turnsDays(stage) ? 'day' : 'event'}, in this order)`, stage.features.map((feature) => [feature.name, feature.kind, featureText(feature)]))
    if (uses.length > 0) table('models', uses.map(({ model, role }) => [model.reference, role, model.manifest.kind, `sha256 ${model.manifest.sha256.slice(0, 12)}…`]))
    if (forward) lines.push(`passes on  every field, each feature as ${stageName}.<name>${stage.models.champion === undefined ? '' : `, the champion's score as ${stageName}.score`}, to stage ${forward.to.stageName} by ${forward.to.key}`, '')
    else lines.push('policy', `  review from ${stage.policy.review}, decline from ${stage.policy.decline}; fall-back: ${JSON.stringify(stage.policy.fallback)}`, '')
    table('state of an entity', [...sections.map(({ name, bytes }) => [name, `${bytes} B`]), ['together', `${total} B, and ${logText(stageView)}`]])
  }
  const last = stages.at(-1)!
  table('sinks', [
    ['scored events', last.names.scored],
    ['alerts', last.names.alerts],
    ['dead letters', names.deadLetters],
    ['lineage', names.lineage],
    ...stages.map(({ names: own, view: stageView }) => [stages.length === 1 ? 'changelog' : `changelog of ${stageView.stageName}`, own.state]),
  ])
  if (publishesEarly(last.view)) lines.push('delivery', '  atLeastOnce: scored events and alerts leave before their transaction, and may come twice after a crash', '')
  lines.push(...privacyLines(last.view), ...releaseLines(view))
  const groups = stages.map(({ names: own }) => own.group)
  lines.push(`group${groups.length === 1 ? '' : 's'}  ${groups.join(' ')}`, `limits ${Object.entries(view.spec.limits).map(([name, value]) => `${name}=${value}`).join(' ')}`, '')
  return lines.join('\n')
}

/** What stands in outputs in place of personal values, and how dead letters are kept. */
function privacyLines({ personal, spec: { privacy } }: Topology): string[] {
  const names = [...(personal?.domains ?? [])].map(([name, domain]) => (name === domain ? name : `${name} (${domain})`))
  const tokens = names.length > 0 ? [`  ${names.join(', ')}: ${personal!.tokens ? 'tokens in outputs' : 'as they are in outputs'}, masked where people look`] : []
  const letters = privacy?.deadLetters === 'encrypted' ? ['  dead letters are encrypted whole'] : []
  return tokens.length + letters.length === 0 ? [] : ['privacy', ...tokens, ...letters, '']
}

/** What a release needs, and when it goes back by itself. */
function releaseLines({ spec: { releases } }: Topology): string[] {
  if (!releases) return []
  const { validation, approval, guardrails } = releases
  const needs = [...(validation ? ['a validation record'] : []), ...(approval ? ['a second person'] : [])].join(' and ')
  const rules = needs === '' ? [] : [`  need ${needs}`]
  if (guardrails) rules.push(`  go back by themselves within ${formatDuration(guardrails.window)} of records, judged in blocks of ${guardrails.events} events, unless:`, ...guardrailTexts(guardrails).map((text) => `    ${text}`))
  return rules.length === 0 ? [] : ['releases', ...rules, '']
}

/** Computed bytes of one entity, by section of its slot. */
function slotSections(topology: Topology, uses: ReturnType<typeof modelUses>): { name: string; bytes: number }[] {
  const { stage, spec } = topology
  const store = new EntityStore({
    keyBytesMax: stage.keyBytesMax,
    ...storeNeeds(stage.features),
    graceMs: stage.grace,
    ttlMs: stage.ttl,
    windowEntriesMax: spec.limits.windowEntriesMax,
    turnsDays: turnsDays(stage),
  })
  const memory = new SequenceMemory({
    features: stage.features.length,
    window: stage.ring,
    hidden: uses.filter(({ model }) => model.manifest.kind === 'recurrent').map(({ model, epoch = 1 }) => ({ identity: model.reference, epoch, floats: hiddenFloatsOf(model.manifest) })),
    chunkSlots: 1,
  })
  return [{ name: 'key, windows, counters', bytes: store.slots.bytesPerSlot }, ...memory.bytesPerSlot]
}

function logText(topology: Topology): string {
  const { valueCount, keptCount = 0, labels = false, historyEntries } = storeNeeds(topology.stage.features)
  const bytes = (2 + valueCount + keptCount + (labels ? 2 : 0)) * 8
  return historyEntries === undefined ? `${bytes} B for each event in the longest window` : `${bytes} B for each of the last ${historyEntries} events, and of those within the grace period`
}

function featureText(feature: FeatureSpec): string {
  const parts: string[] = []
  if ('field' in feature) parts.push(`of ${feature.field}`)
  if ('window' in feature) parts.push(windowText(feature))
  if ('memory' in feature) parts.push(`within ${formatDuration(feature.memory)}`)
  if ('where' in feature && feature.where) parts.push(`where ${feature.where.field}${feature.where.from === undefined ? '' : ` >= ${feature.where.from}`}${feature.where.below === undefined ? '' : ` < ${feature.where.below}`}`)
  if ('scale' in feature && feature.scale !== 1) parts.push(`x ${feature.scale}`)
  if ('unit' in feature) parts.push(`in ${formatDuration(feature.unit)}`)
  if ('log1p' in feature && feature.log1p) parts.push('ln(1 + x)')
  return parts.join(' ')
}

/** When a stage that turns days scores. */
function scoredText({ grace, score }: Topology['stage']): string {
  const { events } = score!
  const besides = events ? `, and at once where ${[...(events.from === undefined ? [] : [`${events.field} >= ${events.from}`]), ...(events.below === undefined ? [] : [`${events.field} < ${events.below}`])].join(', ')}` : ''
  return `scored at the end of each UTC day, ${formatDuration(grace)} later in stream time${besides}`
}

function windowText({ window, delay = 0, last }: { window: number; delay?: number | undefined; last?: number | undefined }): string {
  const to = delay === 0 ? 't' : `t - ${formatDuration(delay)}`
  return `over ${last === undefined ? '' : `the last ${last} events of `}(t - ${formatDuration(delay + window)}, ${to}]`
}
