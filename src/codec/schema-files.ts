import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HarrierError, messageOf } from '../base/errors.js'
import { parseAvroSchema } from './avro-schema.js'

/** The schemas that Harrier itself writes and reads: schemas/<name>.avsc of this package. */
export type OwnSchema = 'transaction' | 'label' | 'scored-event' | 'alert' | 'lineage' | 'release' | 'stage-models'

const ownFolder = fileURLToPath(new URL('../../../schemas', import.meta.url))

/** The parsed schema of an .avsc file, or of a JSON Schema, checked. Throws SCHEMA_INVALID with the file and the place in it. */
export function loadSchemaFile(file: string, language: 'Avro' | 'JSON Schema' = 'Avro'): object {
  const refuse = (why: string, cause?: unknown): never => {
    throw new HarrierError('SCHEMA_INVALID', `${file}: ${why}`, { cause, remedy: 'correct the schema file, or the path to it' })
  }
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    refuse(`cannot be read: ${messageOf(error)}`, error)
  }
  let schema: unknown
  try {
    schema = JSON.parse(text)
  } catch (error) {
    refuse(`is not JSON: ${messageOf(error)}`, error)
  }
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) refuse(language === 'Avro' ? 'is not an Avro record schema' : 'is not a JSON Schema')
  if (language === 'JSON Schema') return schema as object
  try {
    parseAvroSchema(schema)
  } catch (error) {
    refuse(messageOf(error), error)
  }
  return schema as object
}

export function fileOfOwnSchema(name: OwnSchema): string {
  return join(ownFolder, `${name}.avsc`)
}

export function loadOwnSchema(name: OwnSchema): object {
  return loadSchemaFile(fileOfOwnSchema(name))
}

/** Every .avsc of a folder by its name without the ending. */
export function loadSchemaFolder(folder: string = ownFolder): Map<string, object> {
  const schemas = new Map<string, object>()
  for (const file of readdirSync(folder).sort()) {
    if (file.endsWith('.avsc')) schemas.set(basename(file, '.avsc'), loadSchemaFile(join(folder, file)))
  }
  return schemas
}
