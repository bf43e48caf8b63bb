import type { RecordColumns } from '../base/record-columns.js'
import { UnknownSchemaIdError } from '../codec/registry-client.js'
import type { LogBounds, LogRange, RecordLog } from './record-log.js'

/** Several logs of the same topics as one: each offset comes from the first that keeps it. */
export class CombinedLog implements RecordLog {
  readonly #logs: readonly RecordLog[]

  constructor(logs: readonly RecordLog[]) {
    this.#logs = logs
  }

  async partitions(topic: string): Promise<number | undefined> {
    for (const log of this.#logs) {
      const count = await log.partitions(topic)
      if (count !== undefined) return count
    }
    return undefined
  }

  async bounds(topic: string, partition: number): Promise<LogBounds | undefined> {
    const all = (await Promise.all(this.#logs.map((log) => log.bounds(topic, partition)))).filter((each) => each !== undefined)
    if (all.length === 0) return undefined
    return { from: Math.min(...all.map(({ from }) => from)), to: Math.max(...all.map(({ to }) => to)) }
  }

  async offsetAtTime(topic: string, partition: number, timeMs: number): Promise<number> {
    const found = await Promise.all(this.#logs.map(async (log) => ({ offset: await log.offsetAtTime(topic, partition, timeMs), end: (await log.bounds(topic, partition))?.to ?? 0 })))
    const inside = found.filter(({ offset, end }) => offset < end)
    return inside.length > 0 ? Math.min(...inside.map(({ offset }) => offset)) : Math.max(0, ...found.map(({ end }) => end))
  }

  async read(range: LogRange, onBatch: (columns: RecordColumns) => void | Promise<void>, signal?: AbortSignal): Promise<void> {
    let { from } = range
    while (from < range.to) {
      let found: { log: RecordLog; to: number } | undefined
      for (const log of this.#logs) {
        const bounds = await log.bounds(range.topic, range.partition)
        if (!bounds || bounds.from > from || bounds.to <= from) continue
        found = { log, to: Math.min(range.to, bounds.to) }
        break
      }
      // The last log says what is missing, in its own words.
      const { log, to } = found ?? { log: this.#logs.at(-1)!, to: range.to }
      await log.read({ ...range, from, to }, onBatch, signal)
      from = to
    }
  }

  async schemaById(id: number, signal?: AbortSignal): Promise<object> {
    for (const log of this.#logs.slice(0, -1)) {
      try {
        return await log.schemaById(id, signal)
      } catch (error) {
        if (!(error instanceof UnknownSchemaIdError)) throw error
      }
    }
    return this.#logs.at(-1)!.schemaById(id, signal)
  }

  isUnknownId(id: number): boolean {
    return this.#logs.at(-1)!.isUnknownId(id)
  }
}
