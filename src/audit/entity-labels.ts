import { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import type { Stage } from '../topology/stage.js'
import type { LabelQueue } from '../topology/label-queue.js'

/**
 * Takes labels of some entities into a queue, out of all of a partition. A label holds up those behind it until its time has come,
 * also those of other entities: so each gets the latest time of all before it.
 */
export class EntityLabels {
  readonly #stage: Stage
  readonly #entities: ReadonlySet<string>
  #latestMs = -Infinity

  constructor(stage: Stage, entities: ReadonlySet<string>) {
    this.#stage = stage
    this.#entities = entities
  }

  async take(queue: LabelQueue, columns: RecordColumns): Promise<void> {
    const { labels: source, topology } = this.#stage
    const { fields } = topology.labels!
    const all = new RecordColumns(columns.count)
    for (let row = 0; row < columns.count; row++) all.copyRow(columns, row)
    const labels = new EventColumns(fields, columns.count)
    const loading = source!.decoder.prepare(all)
    if (loading) await loading
    source!.decoder.decode(all, labels)
    const { key, knownAt } = source!.columns
    const rows: number[] = []
    const times: number[] = []
    for (let row = 0; row < all.count; row++) {
      if (labels.fault[row] !== Fault.none) continue
      this.#latestMs = Math.max(this.#latestMs, labels.numbers[knownAt]![row]!)
      if (!this.#entities.has(labels.text(key, row, all.arena) ?? '')) continue
      rows.push(row)
      times.push(this.#latestMs)
    }
    if (rows.length === 0) return
    const kept = new RecordColumns(rows.length)
    for (const row of rows) kept.copyRow(all, row)
    const decoded = new EventColumns(fields, rows.length)
    source!.decoder.decode(kept, decoded)
    for (const [at, timeMs] of times.entries()) decoded.numbers[knownAt]![at] = timeMs
    queue.add({ records: kept, labels: decoded })
  }
}
