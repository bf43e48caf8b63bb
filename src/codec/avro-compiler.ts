import type { Arena } from '../base/arena.js'
import { AvroColumnEmitter } from './avro-column-emitter.js'
import { decoderHelpers } from './avro-decoder-helpers.js'
import { fieldRefusal } from './avro-default.js'
import type { AvroType } from './avro-schema.js'
import type { FieldSpec } from './field-spec.js'
import { buildPathTree, type PathNode } from './field-paths.js'

/**
 * Decodes one value in bytes [at, end) into row `row` of the columns. Returns 0, or a fault as `packFault` makes it.
 * The caller has reserved `textBytesMax` bytes in the arena, and the arena has `readAheadBytes` bytes behind `end`.
 */
export type RowDecoder = (
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  row: number,
  numbers: readonly Float64Array[],
  textAt: readonly Int32Array[],
  textBytes: readonly Int32Array[],
  arena: Arena,
) => number

export interface CompiledDecoder {
  readonly decode: RowDecoder
  /** Bytes of formatted text that one row may append to the arena. */
  readonly textBytesMax: number
}

/** A varint is read before its bounds are checked: so many bytes behind a value may be looked at, never used. */
export const readAheadBytes = 16

/**
 * A decoder for the values of one writer schema that reads only the wanted fields, as straight-line code made once.
 * The code holds numbers and fixed fragments only: no name or text of a schema ever becomes code (texts are passed in
 * `constants`). Throws an Error that says which field the schema cannot give.
 */
export function compileAvroDecoder(writer: AvroType, fields: readonly FieldSpec[], reader?: AvroType): CompiledDecoder {
  const tree: PathNode = buildPathTree(fields, reader)
  if (writer.kind !== 'record' && writer.kind !== 'union') throw new Error(fieldRefusal(fields[0]!, `the schema is a ${writer.kind}, not a record`))
  const emitter = new AvroColumnEmitter(fields)
  emitter.emitRoot(writer, tree)
  const { source, constants, textBytesMax } = emitter.finish()
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the point of this file; see above for what the code holds
  const make = new Function('H', 'C', source) as (helpers: typeof decoderHelpers, constants: readonly (Uint8Array | FieldSpec)[]) => RowDecoder
  return { decode: make(decoderHelpers, constants), textBytesMax }
}
