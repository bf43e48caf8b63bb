import { HarrierError } from '../base/errors.js'
import { RecordColumns } from '../base/record-columns.js'
import { EventColumns } from '../codec/event-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { isText } from '../codec/field-spec.js'
import { createSourceDecoder } from '../codec/source-decoder.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { tokenVersion } from '../privacy/token-text.js'
import { tokenOf, type TokenKey } from '../privacy/tokeniser.js'
import type { Topology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import type { RecordLog } from './record-log.js'

export interface TokenSearch {
  readonly topology: Topology
  readonly namespace: string | undefined
  readonly keys: PrivacyKeys
  readonly token: string
  /** Where to look; undefined: in all partitions. */
  readonly partition: number | undefined
  /** Records that are looked at before it is given up. */
  readonly scanMax: number
  readonly onProgress: (scanned: number, of: number) => void
}

export interface FoundValue {
  readonly field: string
  readonly value: string
  /** The newest record that has it. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** Records that are read in one go. */
const windowRecords = 20_000

/** The key that a token was made with, also one that is retired. Errors: USAGE for what is no token, PRIVACY_KEY_MISSING. */
export function keyOfToken({ tokens }: PrivacyKeys, token: string): TokenKey {
  const version = tokenVersion(token)
  if (version === undefined) throw new HarrierError('USAGE', 'that is no token: t, a version, _ and 22 characters are', { remedy: 'give it as a scored event or an alert has it' })
  const key = tokens.find((each) => each.version === version)
  if (key) return key
  const has = tokens.map((each) => each.version).join(', ')
  throw new HarrierError('PRIVACY_KEY_MISSING', `the token is under key ${version}, and the file of keys has ${has}`, { remedy: 'give the file that has the key; without it nobody can tell what the token stands for' })
}

/**
 * The value that a token stands for. Nothing leads back from a token: the values of the input are taken one after the other, newest
 * first, until one has this token. Errors: USAGE, PRIVACY_KEY_MISSING, TOPIC_MISSING, NOT_FOUND.
 */
export async function findToken(log: RecordLog, { topology, namespace, keys, token, partition, scanMax, onProgress }: TokenSearch): Promise<FoundValue> {
  const key = keyOfToken(keys, token)
  const view = topology.chain[0]!
  const { fields, readerSchema, spec, personal } = view
  const topic = topologyNames(view, namespace).input
  const count = await log.partitions(topic)
  if (count === undefined) throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic}`, { remedy: 'give --topology and --namespace as the engine runs' })
  const wanted = fields.flatMap(({ name, type }, column) => (personal?.domains.has(name) === true && (type === 'text' || type === 'integer') ? [{ name, column, domain: personal.domains.get(name)! }] : []))
  const decoder = createSourceDecoder({ format: spec.source.format, fields, readerSchema, registry: log, recordBytesMax: spec.limits.recordBytesMax })
  const looked = new Set<string>()
  let scanned = 0
  let total = 0
  for (const at of partition === undefined ? Array.from({ length: count }, (_, i) => i) : [partition]) {
    const bounds = await log.bounds(topic, at)
    if (!bounds) continue
    total += bounds.to - bounds.from
    for (let to = bounds.to; to > bounds.from && scanned < scanMax; to -= windowRecords) {
      const from = Math.max(bounds.from, to - windowRecords)
      let found: FoundValue | undefined
      await log.read({ topic, partition: at, from, to }, async (columns) => {
        const records = new RecordColumns(columns.count)
        for (let row = 0; row < columns.count; row++) records.copyRow(columns, row)
        const events = new EventColumns(fields, columns.count)
        await decoder.prepare(records)
        decoder.decode(records, events)
        for (let row = 0; row < records.count; row++) {
          if (events.fault[row] !== Fault.none) continue
          for (const { name, column, domain } of wanted) {
            const value = isText(fields[column]!) ? events.text(column, row, records.arena) : String(events.numbers[column]![row]!)
            const named = `${domain}\0${value}`
            if (value === null || looked.has(named)) continue
            if (tokenOf(key, domain, value) === token) found = { field: name, value, topic, partition: at, offset: records.offset[row]! }
            else looked.add(named)
          }
        }
      })
      scanned += to - from
      onProgress(scanned, total)
      if (found) return found
    }
  }
  throw new HarrierError('NOT_FOUND', `no value among ${scanned.toLocaleString('en')} records of ${topic} has this token`, {
    remedy: 'its records may be past the retention of the input; say where to look (--partition), look further (--scan-max), or into an archive (--archive)',
  })
}
