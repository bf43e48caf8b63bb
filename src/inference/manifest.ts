import { createHash } from 'node:crypto'
import type { Manifest } from './manifest-schema.js'

export type { Manifest, ModelKind } from './manifest-schema.js'

export function manifestReference(manifest: Pick<Manifest, 'name' | 'version'>): string {
  return `${manifest.name}@${manifest.version}`
}

/** The name in a reference. */
export function modelNameOf(reference: string): string {
  return reference.split('@')[0]!
}

/** What a version is known by in lineage and in stored states: the sha256 of its file, or of all its files' sha256. */
export function modelDigest({ sha256, externalData }: Manifest): string {
  if (externalData.length === 0) return sha256
  return createHash('sha256').update([sha256, ...externalData.map((each) => each.sha256)].join(' ')).digest('hex')
}

/** What scores follow from besides the files: how the graph is fed, and what its output means. Texts, limits and metrics are not in it. */
export function manifestDigest({ kind, features, categories, window, layout, padding, inputs, outputs, states, score }: Manifest): string {
  const byName = Object.entries(categories).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify([kind, features, byName, window ?? null, layout, padding, inputs, outputs, states, score])).digest('hex')
}

/** Floats of one entity's hidden state. */
export function hiddenFloatsOf(manifest: Manifest): number {
  return manifest.states.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)
}
