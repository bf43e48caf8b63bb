import { encodeLong, encodeString } from './avro-writer.js'

/** What scored events and alerts say of why a score is what it is; schemas/alert.avsc has the units. */
export interface ExplanationRecord {
  readonly referenceScore: number
  readonly reasons: readonly { readonly name: string; readonly contribution: number; readonly text: string; readonly eventTime: number | null }[]
  readonly rest: number
}

const nullBranch = Uint8Array.of(0)
const valueBranch = Uint8Array.of(2)

/** The field `explanation` as Avro: one of few rows has it, so it is made of objects. */
export function encodeExplanation({ referenceScore, reasons, rest }: ExplanationRecord): Uint8Array {
  const items = reasons.flatMap(({ name, contribution, text, eventTime }) => [
    encodeString(name),
    float64(contribution),
    encodeString(text),
    ...(eventTime === null ? [nullBranch] : [valueBranch, encodeLong(eventTime)]),
  ])
  const score = Buffer.alloc(4)
  score.writeFloatLE(referenceScore)
  const block = reasons.length > 0 ? [encodeLong(reasons.length), ...items] : []
  return Buffer.concat([valueBranch, score, ...block, encodeLong(0), float64(rest)])
}

function float64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}
