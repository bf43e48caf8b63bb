import { noTimestamp, RecordColumns } from '../base/record-columns.js'
import { vectorRowsMax } from '../replay/column-appender.js'
import type { TableRows } from '../replay/table-source.js'
import type { Topology } from './load-topology.js'
import { labelsOfRows } from './label-rows.js'
import { isFraudOf, packTag } from './row-tag.js'
import type { Stage } from './stage.js'
import type { TaggedBatch, Tags } from './stage-chain.js'

/** The first stage as it reads a table's rows. */
export function ofTable(view: Topology): Topology {
  const { spec, labels } = view
  return {
    ...view,
    readerSchema: undefined,
    isTable: true,
    spec: { ...spec, source: { ...spec.source, format: 'json' } },
    labels: labels && { ...labels, readerSchema: undefined, spec: { ...labels.spec, format: 'json' } },
  }
}

/** Rows of a table as the records of a topic with one partition. What is taken stands there until the next rows are. */
export class TableRecords {
  readonly records = new RecordColumns(vectorRowsMax)
  readonly tags: Tags = new Float64Array(vectorRowsMax)
  #ordinal = 0

  take({ count, bytes, recordEnds, keyEnds, isFraud, scenario }: TableRows): void {
    const { records, tags } = this
    records.reset()
    let at = records.arena.append(bytes)
    for (let row = 0; row < count; row++) {
      records.begin(0, 0, this.#ordinal, noTimestamp)
      const [recordEnd, keyEnd] = [recordEnds[row]!, keyEnds[row]!]
      records.setValue(row, at, recordEnd - at)
      records.setKey(row, recordEnd, keyEnd - recordEnd)
      at = keyEnd
      tags[row] = packTag({ ordinal: this.#ordinal, isFraud: isFraud[row]!, scenario: scenario[row]! })
      this.#ordinal++
    }
  }
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
