import { messageOf } from '../base/errors.js'
import { compileAvroDecoder } from '../codec/avro-compiler.js'
import { parseAvroSchema } from '../codec/avro-schema.js'
import { avroContract, explainRefusal } from '../codec/contract-tree.js'
import type { FieldSpec } from '../codec/field-spec.js'
import { JsonSchema } from '../codec/json-schema.js'

export interface FieldProblem {
  readonly field: string
  /** What was found, and what to write instead. */
  readonly message: string
}

/** Fields of a source that an Avro schema cannot give. `reader` is the source's own schema: its aliases and defaults help. */
export function avroProblems(schema: object, fields: readonly FieldSpec[], reader?: object): FieldProblem[] {
  const type = parseAvroSchema(schema)
  const readerType = reader && parseAvroSchema(reader)
  return fields.flatMap((field) => {
    try {
      compileAvroDecoder(type, [field], readerType)
      return []
    } catch (error) {
      return [{ field: field.name, message: explainRefusal(avroContract(type), field, messageOf(error)) }]
    }
  })
}

/** Fields of a source that a JSON Schema cannot give. */
export function jsonProblems(schema: object, fields: readonly FieldSpec[]): FieldProblem[] {
  const contract = new JsonSchema(schema)
  return fields.flatMap((field) => {
    const why = contract.refusal(field)
    return why === undefined ? [] : [{ field: field.name, message: explainRefusal(contract.contract(), field, why) }]
  })
}
