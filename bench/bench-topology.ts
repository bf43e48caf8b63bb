import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse, stringify } from 'yaml'
import { topologyFile } from '../src/topology/load-topology.js'

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
