import { formatDuration } from '../base/durations.js'
import { windowNeeds } from '../features/feature-program.js'
import type { FeatureSpec } from '../features/feature-spec.js'
import { hiddenFloatsOf } from '../inference/manifest.js'
import { ModelStore } from '../inference/model-store.js'
import { SequenceMemory } from '../inference/sequence-memory.js'
import { EntityStore } from '../entity/entity-store.js'
import type { Topology } from './load-topology.js'
import { topologyNames } from './names.js'
import { modelsFolder, modelUses } from './open-scorer.js'

export interface DescribeOptions {
  readonly mermaid?: boolean
  readonly json?: boolean
  readonly namespace?: string
  readonly models?: string
}

/** Text for people, Mermaid for documents, JSON for machines. */
export function describeTopology(topology: Topology, options: DescribeOptions = {}): string {
  const names = topologyNames(topology, options.namespace)
  const { stage, stageName, spec } = topology
  const uses = modelUses(topology, new ModelStore(options.models ?? modelsFolder))
  const sections = slotSections(topology, uses)
  const total = sections.reduce((sum, { bytes }) => sum + bytes, 0)
  const mermaid = [
    'flowchart LR',
    `  input[/"${names.input}"/] --> stage`,
    `  stage["${stageName}: key ${stage.key}<br/>${stage.features.length} features, ring of ${stage.ring}"]`,
    ...uses.flatMap(({ model, role }, index) => [`  stage --> m${index}(["${model.reference}<br/>${role}"])`, `  m${index} --> policy`]),
    `  policy{"review >= ${stage.policy.review}<br/>decline >= ${stage.policy.decline}"}`,
    ...(['scored', 'alerts'] as const).map((sink) => `  policy --> ${sink}[/"${names[sink]}"/]`),
    `  stage --> dlq[/"${names.deadLetters}"/]`,
    `  stage --> lineage[/"${names.lineage}"/]`,
    '',
  ].join('\n')
  if (options.mermaid) return mermaid
  if (options.json) {
    return `${JSON.stringify({ name: topology.name, names: { ...names }, digests: topology.digests, spec, bytesPerEntity: total, sections }, null, 2)}\n`
  }
  const lines: string[] = [`${topology.name}  (${topology.file})`, '']
  const table = (title: string, rows: string[][]): void => {
    const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
    lines.push(title, ...rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd()), '')
  }
  table(`source  ${names.input}  (${spec.source.format})`, Object.entries(spec.source.fields).map(([name, field]) => [name, field.type, `<- ${field.path}`]))
  lines.push(
    `stage ${stageName}  keyed by ${stage.key}`,
    `  grace ${formatDuration(stage.grace)}, ttl ${formatDuration(stage.ttl)}, late events: ${stage.late}, ring of ${stage.ring} rows`,
    '',
  )
  table('features  (one float32 row for each event, in this order)', stage.features.map((feature) => [feature.name, feature.kind, featureText(feature)]))
  table('models', uses.map(({ model, role }) => [model.reference, role, model.manifest.kind, `sha256 ${model.manifest.sha256.slice(0, 12)}…`]))
  lines.push(
    'policy',
    `  review from ${stage.policy.review}, decline from ${stage.policy.decline}; fall-back: ${JSON.stringify(stage.policy.fallback)}`,
    '',
  )
  table('state of an entity', [...sections.map(({ name, bytes }) => [name, `${bytes} B`]), ['together', `${total} B, and ${logEntryBytes(topology)} B for each event in the longest window`]])
  table('sinks', [
    ['scored events', names.scored],
    ['alerts', names.alerts],
    ['dead letters', names.deadLetters],
    ['lineage', names.lineage],
    ['changelog', names.state],
  ])
  lines.push(`group  ${names.group}`, `limits ${Object.entries(spec.limits).map(([name, value]) => `${name}=${value}`).join(' ')}`, '')
  return lines.join('\n')
}

/** Computed bytes of one entity, by section of its slot. */
function slotSections(topology: Topology, uses: ReturnType<typeof modelUses>): { name: string; bytes: number }[] {
  const { stage, spec } = topology
  const needs = windowNeeds(stage.features)
  const store = new EntityStore({
    keyBytesMax: stage.keyBytesMax,
    windowsMs: needs.windowsMs,
    valueCount: needs.summedFields.length,
    graceMs: stage.grace,
    ttlMs: stage.ttl,
    windowEntriesMax: spec.limits.windowEntriesMax,
  })
  const memory = new SequenceMemory({
    features: stage.features.length,
    window: stage.ring,
    hidden: uses.filter(({ model }) => model.manifest.kind === 'recurrent').map(({ model }) => ({ identity: model.reference, floats: hiddenFloatsOf(model.manifest) })),
    chunkSlots: 1,
  })
  return [{ name: 'key, windows, counters', bytes: store.slots.bytesPerSlot }, ...memory.bytesPerSlot]
}

function logEntryBytes(topology: Topology): number {
  return (2 + windowNeeds(topology.stage.features).summedFields.length) * 8
}

function featureText(feature: FeatureSpec): string {
  const parts: string[] = []
  if ('field' in feature) parts.push(`of ${feature.field}`)
  if ('window' in feature) parts.push(`over (t - ${formatDuration(feature.window)}, t]`)
  if ('scale' in feature && feature.scale !== 1) parts.push(`x ${feature.scale}`)
  if ('unit' in feature) parts.push(`in ${formatDuration(feature.unit)}`)
  if ('log1p' in feature && feature.log1p) parts.push('ln(1 + x)')
  return parts.join(' ')
}
