import { HarrierError } from '../base/errors.js'
import { decodedReleases, valuesOf } from '../registry/release-ledger.js'
import { stageKey, type Release } from '../registry/release.js'
import type { RecordLog } from './record-log.js'
import { Unavailable } from './unavailable.js'

/** The entry of the ledger that put a stage's models in force; undefined: it is not kept, or not for us to read. */
export async function releaseIn(log: RecordLog, topic: string, stage: { readonly topology: string; readonly stage: string }, revision: number): Promise<Release | undefined> {
  const values: Uint8Array[] = []
  try {
    const bounds = await log.bounds(topic, 0)
    if (!bounds) return undefined
    await log.read({ topic, partition: 0, ...bounds }, (columns) => void values.push(...valuesOf(columns, stageKey(stage))))
  } catch (error) {
    if (error instanceof Unavailable || (error instanceof HarrierError && error.code === 'NOT_AUTHORIZED')) return undefined
    throw error
  }
  return (await decodedReleases(values, log)).find((entry) => entry.revision === revision)
}
