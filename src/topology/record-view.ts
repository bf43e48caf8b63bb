import type { DecodedValue } from '../codec/generic-decoder.js'
import type { DecodedOutcome } from '../codec/decoded-outcome.js'
import { deadLetterHeaders } from '../consumer/dead-letter.js'
import { modelNameOf } from '../inference/manifest.js'
import type { RecordMask } from './record-mask.js'

/** Where a record lies, and when it was written: ms since 1970. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly time: number
}

/** A scored event or an alert, as its schema has it. */
export interface ScoredRow extends Place {
  readonly value: DecodedOutcome
}

export interface DeadLetterRow extends Place {
  /** Code of the catalogue, and what was wrong. */
  readonly cause: string
  readonly message: string
  readonly source: { readonly topic: string; readonly partition: number; readonly offset: number }
  readonly bytes: number
  /** Where the record was sent from again, where it was: <topic>/<partition>/<offset>. */
  readonly redrivenFrom: string | null
}

/** Stands in a record that was sent again: the dead letter that it was. */
export const redrivenHeader = 'harrier-redriven'

/** Undefined for what is none. */
export function scoredRow(place: Place, { value, problem }: DecodedValue): ScoredRow | undefined {
  const isScored = problem === undefined && typeof value === 'object' && value !== null && 'event_id' in value && 'decision' in value
  return isScored ? { ...place, value: value as ScoredRow['value'] } : undefined
}

export type Headers = readonly { readonly name: string; readonly value: Uint8Array | null }[]

export function deadLetterRow(place: Place, headers: Headers, value: Uint8Array | null): DeadLetterRow {
  const said = (name: string): string => headerText(headers, name) ?? ''
  return {
    ...place, cause: said(deadLetterHeaders.exception), message: said(deadLetterHeaders.message), bytes: value?.length ?? 0, redrivenFrom: headerText(headers, redrivenHeader) ?? null,
    source: { topic: said(deadLetterHeaders.topic), partition: Number(said(deadLetterHeaders.partition)), offset: Number(said(deadLetterHeaders.offset)) },
  }
}

export function headerText(headers: Headers, name: string): string | undefined {
  const found = headers.find((header) => header.name === name)?.value
  return found ? Buffer.from(found).toString() : undefined
}

/** As people see it: personal values masked. */
export function maskedRow(row: ScoredRow, mask: RecordMask): ScoredRow {
  return { ...row, value: mask.outcome(row.value) }
}

/** Without the scores of models that somebody may not see; undefined where one of those decided. */
export function seenRow(row: ScoredRow, sees: (model: string) => boolean): ScoredRow | undefined {
  const seen = (reference: string): boolean => sees(modelNameOf(reference))
  const { scores, model } = row.value
  if (!seen(model)) return undefined
  return scores ? { ...row, value: { ...row.value, scores: scores.filter((each) => seen(each.model)) } } : row
}
