import type { Manifest } from '../inference/manifest.js'
import { modelFileBytes, type LoadedModel } from '../inference/loaded-model.js'
import type { Registration } from '../inference/registration.js'
import type { Release } from './release.js'
import { sizeText } from '../base/size-text.js'

export interface CardMaterial {
  readonly model: LoadedModel
  readonly registration: Registration | undefined
  /** Entries of the ledger, by stage; null where no ledger was asked. */
  readonly releases: readonly Release[] | null
}

const notStated = '*Not stated: write it under `card` in model.yaml.*'

/** A model card in Markdown: what a version is for, what it was made of, what it was found to be worth, and what became of it. */
export function modelCard({ model, registration, releases }: CardMaterial): string {
  const { manifest, reference } = model
  const { card } = manifest
  const list = (items: readonly string[] | undefined): string => (items && items.length > 0 ? items.map((each) => `- ${each}`).join('\n') : notStated)
  return [
    `# Model card: ${reference}`,
    manifest.description ?? notStated,
    '## The version',
    table([
      ['model', reference],
      ['kind', kindText(manifest)],
      ['files', sizeText(modelFileBytes(model))],
      ['sha256 of the model', manifest.sha256],
      ['owner', card?.owner ?? 'not stated'],
      ['licence', card?.licence ?? 'not stated'],
      ...(registration
        ? [
            ['registered', `${registration.registeredAt} by ${registration.actor}`],
            ['trial run', `${registration.trial.golden ? `${registration.trial.rows} golden scores, largest difference ${registration.trial.largestDifference!.toExponential(1)}` : `${registration.trial.rows} rows of zeros`}, ${registration.trial.deviceClass}`],
            ...(registration.importedFrom ? [['imported', `from ${registration.importedFrom.exportedBy}, ${registration.importedFrom.exportedAt}, signed with key ${registration.importedFrom.signedBy}`]] : []),
          ]
        : [['registered', 'no: it was put into the folder by hand']]),
    ]),
    '## Intended use',
    list(card?.intendedUse),
    '## Limits',
    list(card?.limits),
    '## What it reads',
    `${manifest.features.length} features: ${manifest.features.join(', ')}.`,
    ...(manifest.reasons ? ['Its scores are explained against reference values of these features; see the `reasons` of its manifest.'] : []),
    '## Training',
    manifest.training ? tree(manifest.training) : '*Not stated: write it under `training` in model.yaml.*',
    '## Metrics',
    manifest.metrics ? tree(manifest.metrics) : '*Not stated: write them under `metrics` in model.yaml.*',
    '## Lineage',
    lineage(reference, releases),
    '',
  ].join('\n\n')
}

function kindText({ kind, window }: Manifest): string {
  if (kind === 'row') return 'row: one event'
  return kind === 'window' ? `window: the last ${window} events of an entity` : 'recurrent: one event and a carried state'
}

function lineage(reference: string, releases: readonly Release[] | null): string {
  if (releases === null) return 'Every scored event names the version that decided and its lineage record, which has the sha256. Who released it is in the ledger: give `--topology`.'
  const own = releases.filter(({ model, from, to }) => model === reference || from.some((each) => each.model === reference) !== to.some((each) => each.model === reference))
  if (own.length === 0) return 'It has never been released.'
  const rows = own.map(({ revision, topology, stage, action, model, actor, reason, time, to }) => {
    const role = to.find((each) => each.model === reference)
    return [`${topology}/${stage} ${revision}`, new Date(time).toISOString().slice(0, 19), `${action} ${model}`, actor, role ? `${role.role}, ${Number((role.share * 100).toFixed(4))} %` : 'not in force', reason]
  })
  return table(rows, ['revision', 'time (UTC)', 'action', 'actor', 'its role then', 'reason'])
}

/** Nested facts as a list; lists of numbers and of small records stay on a line. */
function tree(value: unknown, depth = 0): string {
  const indent = '  '.repeat(depth)
  return Object.entries(value as Record<string, unknown>)
    .map(([name, member]) => {
      const isDeep = typeof member === 'object' && member !== null && !Array.isArray(member)
      if (isDeep) return `${indent}- ${name}\n${tree(member, depth + 1)}`
      if (Array.isArray(member) && member.some((each) => typeof each === 'object')) return `${indent}- ${name}\n${member.map((each) => `${indent}  - ${inline(each)}`).join('\n')}`
      return `${indent}- ${name}: ${inline(member)}`
    })
    .join('\n')
}

function inline(value: unknown): string {
  if (Array.isArray(value)) return value.map(inline).join(', ')
  if (typeof value === 'object' && value !== null) return Object.entries(value).map(([name, member]) => `${name} ${inline(member)}`).join(', ')
  return String(value)
}

function table(rows: readonly (readonly string[])[], head: readonly string[] = ['', '']): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}
