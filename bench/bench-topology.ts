import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { topologyFile } from '../src/topology/load-topology.js'
import type { TopologySpec } from '../src/topology/topology-schema.js'

/** The card-fraud topology with one model alone, under another name and with other limits; returns the file. */
export function benchTopology(folder: string, name: string, model: string, limits: Readonly<Record<string, number | string>> = {}): string {
  interface Document {
    name: string
    source: { schema: string }
    stages: Record<string, { models: { champion: string; shadows?: string[] }; policy: { fallback: string } }>
    limits: Record<string, number | string>
  }
  const original = topologyFile('card-fraud')
  const document = parse(readFileSync(original, 'utf8')) as Document
  document.name = name
  document.source.schema = resolve(dirname(original), document.source.schema)
  for (const stage of Object.values(document.stages)) {
    stage.models = { champion: model }
    stage.policy.fallback = 'review'
  }
  Object.assign(document.limits, limits)
  const file = join(folder, `${name}.yaml`)
  writeFileSync(file, stringify(document))
  return file
}

export type Delivery = NonNullable<TopologySpec['delivery']>

const peerJob = fileURLToPath(new URL('../../bench/peers/harrier/gru-step.yaml', import.meta.url))
/** The job of bench/peers with a GRU over a window. */
export const peerWindowJob = fileURLToPath(new URL('../../bench/peers/harrier/gru-window.yaml', import.meta.url))
export const peerModels = fileURLToPath(new URL('../../bench/peers/models', import.meta.url))

/** The job of bench/peers with a carried GRU, whose slots have less than 1 KB, under another name; returns the file. */
export function peerTopology(folder: string, name: string, delivery: Delivery = 'exactlyOnce'): string {
  const document = parse(readFileSync(peerJob, 'utf8')) as { name: string; delivery: Delivery }
  document.name = name
  document.delivery = delivery
  const file = join(folder, `${name}-${delivery}.yaml`)
  writeFileSync(file, stringify(document))
  return file
}
