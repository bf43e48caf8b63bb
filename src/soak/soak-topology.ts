import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { topologyFile } from '../topology/load-topology.js'

/**
 * The shipped topology with what brings trouble nearer: checkpoints so frequent that each restore mixes changelog and
 * input tail, a time to live just above its longest window so that entities expire, small transactions so that there
 * are many to kill.
 */
const changes: readonly (readonly [path: readonly string[], value: unknown])[] = [
  [['stages', 'customer', 'ttl'], '31d'],
  [['limits', 'checkpointIntervalMs'], '300ms'],
  [['limits', 'checkpointBytesMax'], 32_768],
  [['limits', 'batchRecordsMax'], 250],
]

/** Writes the soak's topology into a folder and returns its file. */
export function writeSoakTopology(folder: string): string {
  const source = topologyFile('card-fraud')
  const document = parseDocument(readFileSync(source, 'utf8'))
  for (const [path, value] of changes) document.setIn(path, value)
  document.setIn(['source', 'schema'], resolve(dirname(source), String(document.getIn(['source', 'schema']))))
  const file = join(folder, 'card-fraud.yaml')
  writeFileSync(file, document.toString())
  return file
}
