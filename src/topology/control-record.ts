import type { RecordColumns } from '../base/record-columns.js'

/**
 * A control record stands in the input topic, so that it has a place in the order of its entity's events and a replay
 * meets it again: a null value, the entity as key, and this header.
 */
export const controlHeader = 'harrier-control'
export const forgetControl = 'forget'

/** Of lineage records: the batch put nothing else out, for another state generation had scored its events, or was about to. */
export const silentHeader = 'harrier-silent'

export function isSilentRecord(records: RecordColumns, row: number): boolean {
  return records.headersBytes[row] !== 0 && records.headers(row).some(({ name }) => name === silentHeader)
}

/** Whether a record with a null value asks to forget its entity. Null values are rare: headers are looked at only there. */
export function isForgetRecord(records: RecordColumns, row: number): boolean {
  if (records.headersBytes[row] === 0) return false
  return records.headers(row).some(({ name, value }) => name === controlHeader && value?.toString() === forgetControl)
}
