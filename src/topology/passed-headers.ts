import type { RecordColumns } from '../base/record-columns.js'

/** Headers of an input record that its scored event and its alert carry, in bytes of names and values (and 6 for each). */
export const passedHeaderBytesMax = 16 << 10

/** What says how the input's value is written: the value of an output is another one. */
const ofTheValue = ['content-type', 'ce_datacontenttype', 'ce_dataschema']
/** What a dead letter said of an earlier failure, when it was put back into the input. */
const ofAFailure = '__streams.errors.'

const dropped = new Set(ofTheValue.map((name) => name.length))
const underscore = 0x5f
const letterC = 0x63

/**
 * Copies headers of an input record to the newest row of the outputs: traceparent, tracestate, CloudEvents' ce_* and
 * whatever else there is, unchanged and in order. Left out are those that speak of the input's value, and, past
 * `passedHeaderBytesMax`, what does not fit: a record must not become too large for the broker by its headers. Tracing
 * and ce_* then go before the others.
 */
export function passHeaders(outputs: RecordColumns, records: RecordColumns, row: number): void {
  const bytes = records.headersBytes[row]!
  if (bytes === 0) return
  if (bytes <= passedHeaderBytesMax && !mayHoldDropped(records, row)) return outputs.copyHeaders(records, row)
  const headers = records.headers(row).filter(({ name }) => !ofTheValue.includes(name.toLowerCase()) && !name.startsWith(ofAFailure))
  const sizes = headers.map(({ name, value }) => 6 + Buffer.byteLength(name) + (value?.length ?? 0))
  const kept = new Set<number>()
  let room = passedHeaderBytesMax
  for (const first of [true, false]) {
    headers.forEach(({ name }, index) => {
      if (isContext(name) !== first || sizes[index]! > room) return
      room -= sizes[index]!
      kept.add(index)
    })
  }
  headers.forEach(({ name, value }, index) => {
    if (kept.has(index)) outputs.appendHeader(name, value)
  })
}

/** Headers that say nothing of a person: where a message comes from and what it answers. What else a writer adds may. */
const contextNames = ['traceparent', 'tracestate', 'harrier-request', 'harrier-redriven', 'harrier-control', 'harrier-silent', 'harrier-encrypted', 'content-type', 'ce_id', 'ce_source', 'ce_type', 'ce_specversion', 'ce_time', 'ce_datacontenttype', 'ce_dataschema']
const contextBytes = contextNames.filter((name) => !ofTheValue.includes(name)).map((name) => Buffer.from(name))

export function isContextHeader(name: string): boolean {
  return contextNames.includes(name) || name.startsWith(ofAFailure)
}

/** As `passHeaders`, but only those that say nothing of a person: for outputs in which personal values are tokens. Makes no object for a record. */
export function passContextHeaders(outputs: RecordColumns, records: RecordColumns, row: number): void {
  const bytes = records.headersBytes[row]!
  if (bytes === 0) return
  const { arena, headersAt } = records
  const out = outputs.count - 1
  outputs.arena.reserve(bytes)
  outputs.headersAt[out] = outputs.arena.used
  let at = headersAt[row]!
  for (const end = at + bytes; at < end; ) {
    const nameBytes = arena.view.getUint16(at)
    const size = 6 + nameBytes + Math.max(0, arena.view.getInt32(at + 2))
    if (isPassedContext(arena.bytes, at + 6, nameBytes) && outputs.headersBytes[out]! + size <= passedHeaderBytesMax) {
      for (let i = 0; i < size; i++) outputs.arena.bytes[outputs.arena.used + i] = arena.bytes[at + i]!
      outputs.arena.used += size
      outputs.headersBytes[out]! += size
    }
    at += size
  }
}

function isPassedContext(bytes: Uint8Array, at: number, length: number): boolean {
  for (let n = 0; n < contextBytes.length; n++) {
    const name = contextBytes[n]!
    if (name.length !== length) continue
    let i = 0
    while (i < length && bytes[at + i] === name[i]) i++
    if (i === length) return true
  }
  return false
}

function isContext(name: string): boolean {
  return name === 'traceparent' || name === 'tracestate' || name.startsWith('ce_')
}

/** By first letter and length, without a string for each name: most records pass with one copy. */
function mayHoldDropped({ arena, headersAt, headersBytes }: RecordColumns, row: number): boolean {
  const { bytes, view } = arena
  let at = headersAt[row]!
  for (const end = at + headersBytes[row]!; at < end; ) {
    const nameBytes = view.getUint16(at)
    const first = bytes[at + 6]! | (nameBytes > 0 ? 0x20 : 0)
    if ((first === letterC && dropped.has(nameBytes)) || bytes[at + 6] === underscore) return true
    at += 6 + nameBytes + Math.max(0, view.getInt32(at + 2))
  }
  return false
}
