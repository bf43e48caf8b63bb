import { noTimestamp, RecordColumns } from '../base/record-columns.js'
import type { TableRows } from '../replay/table-source.js'
import type { Topology } from './load-topology.js'
import { labelsOfRows } from './label-rows.js'
import { isFraudOf, packTag } from './row-tag.js'
import type { Stage } from './stage.js'
import type { TaggedBatch, Tags } from './stage-chain.js'

/** The first stage as it reads a table's rows, which come as JSON. */
export function asJson(view: Topology): Topology {
  const { spec, labels } = view
  return {
    ...view,
    readerSchema: undefined,
    spec: { ...spec, source: { ...spec.source, format: 'json' } },
    labels: labels && { ...labels, readerSchema: undefined, spec: { ...labels.spec, format: 'json' } },
  }
}

/** Rows of a table as the records of a topic with one partition; `ordinal` is that of the first row. */
export function recordsOfTable({ documents, keys, isFraud, scenario }: TableRows, ordinal: number): { records: RecordColumns; tags: Tags } {
  const records = new RecordColumns(Math.max(1, documents.length))
  const tags = new Float64Array(documents.length)
  let [keyAt, keyBytesOf] = appendTexts(records, keys)
  let [valueAt, valueBytesOf] = appendTexts(records, documents)
  for (let row = 0; row < documents.length; row++) {
    records.begin(0, 0, ordinal + row, noTimestamp)
    const keyBytes = keyBytesOf(keys[row]!)
    records.setKey(row, keyAt, keyBytes)
    keyAt += keyBytes
    const valueBytes = valueBytesOf(documents[row]!)
    records.setValue(row, valueAt, valueBytes)
    valueAt += valueBytes
    tags[row] = packTag({ ordinal: ordinal + row, isFraud: isFraud[row]!, scenario: scenario[row]! })
  }
  return { records, tags }
}

/** All texts at once, one after the other: a buffer for each costs more than its bytes. Where they begin, and how long each is. */
function appendTexts({ arena }: RecordColumns, texts: readonly string[]): [at: number, bytesOf: (text: string) => number] {
  const text = texts.join('')
  const bytes = Buffer.from(text)
  const isAscii = bytes.length === text.length
  return [arena.append(bytes), isAscii ? (each) => each.length : (each) => Buffer.byteLength(each)]
}

/** Labels of a table's rows, known so long after their events; undefined where the first stage reads none. */
export function labelsOfTable(stage: Stage, delayMs: number): ((batch: TaggedBatch) => void) | undefined {
  if (!stage.topology.labels) return undefined
  let offset = 0
  return ({ batch, tags }) => {
    const isFraud = Array.from({ length: batch.records.count }, (_, row) => isFraudOf(tags[row]!))
    const known = labelsOfRows(batch, stage.topology, { isFraud, delayMs, offset })
    if (known) stage.tasks[0]!.labels!.add(known)
    offset += known?.records.count ?? 0
  }
}
