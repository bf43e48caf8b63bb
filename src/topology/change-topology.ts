import { readFileSync } from 'node:fs'
import { parse, parseDocument } from 'yaml'
import { HarrierError } from '../base/errors.js'
import { parseTopology, topologyFile, type Topology } from './load-topology.js'

/**
 * A topology with some settings changed, each given as `path=value` (`stages.customer.policy.review=0.08`); values are YAML.
 * It is checked as a whole. Errors: TOPOLOGY_INVALID, USAGE where a path leads through something that has no members.
 */
export function changeTopology(nameOrFile: string, settings: readonly string[]): Topology {
  const file = topologyFile(nameOrFile)
  const text = readFileSync(file, 'utf8')
  if (settings.length === 0) return parseTopology(text, file)
  const document = parseDocument(text)
  for (const setting of settings) {
    const at = setting.indexOf('=')
    const path = setting.slice(0, at).split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part))
    try {
      document.setIn(path, parse(setting.slice(at + 1)))
    } catch {
      throw new HarrierError('USAGE', `${setting}: ${file} has no place for it`, { remedy: 'write the path as in the file, with dots: stages.customer.policy.review=0.08; an item of a list by its number, from 0' })
    }
  }
  return parseTopology(String(document), file)
}

/** Settings that put models into the last stage, the first as champion; none where none are given. */
export function modelSettings(nameOrFile: string, models: readonly string[] | undefined): string[] {
  if (models === undefined) return []
  const [champion, ...shadows] = models
  if (champion === undefined) throw new HarrierError('USAGE', '--models names no model', { remedy: 'for example --models card-gru@1,card-attention@1' })
  const file = topologyFile(nameOrFile)
  const { stageName, stage } = parseTopology(readFileSync(file, 'utf8'), file).chain.at(-1)!
  const { fallback } = stage.policy
  // A model cannot stand in for itself: then a person decides where it fails.
  const ownFallback = typeof fallback === 'object' && 'model' in fallback && fallback.model === champion
  return [`stages.${stageName}.models.champion=${champion}`, `stages.${stageName}.models.shadows=[${shadows.join(', ')}]`, ...(ownFallback ? [`stages.${stageName}.policy.fallback=review`] : [])]
}
