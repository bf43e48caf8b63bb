import { parseAvroSchema, type AvroType, type RecordType } from './avro-schema.js'

/** Something that one of two versions of a schema cannot read of the other. */
export interface Breach {
  /** Where: `lineage.sequence`. */
  readonly field: string
  readonly why: string
}

const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

/**
 * What breaks between a schema and its registered predecessor, both ways: the new one must read old records (restores,
 * replays), and consumers that still hold the old one must read new records. Empty when nothing does.
 * Source: Apache Avro 1.12 specification, "Schema Resolution".
 */
export function breaches(predecessor: object, successor: object): Breach[] {
  const [before, after] = [parseAvroSchema(predecessor), parseAvroSchema(successor)]
  const found = new Map<string, Breach>()
  const note = (field: string, why: string): void => void (found.has(field) || found.set(field, { field, why }))
  compare(after, before, '', (field, why) => note(field, `the new schema cannot read what the registered one wrote: ${why}`), new Set())
  compare(before, after, '', (field, why) => note(field, `consumers with the registered schema cannot read the new one: ${why}`), new Set())
  return [...found.values()]
}

type Note = (field: string, why: string) => void

function compare(reader: AvroType, writer: AvroType, at: string, note: Note, visited: Set<string>): void {
  if (writer.kind === 'union') return writer.branches.forEach((branch) => compare(reader, branch, at, note, visited))
  if (reader.kind === 'union') {
    const fits = reader.branches.some((branch) => {
      let fine = true
      compare(branch, writer, at, () => (fine = false), new Set(visited))
      return fine
    })
    if (!fits) note(at, `${nameOf(writer)} is none of ${reader.branches.map(nameOf).join(', ')}`)
    return
  }
  if (reader.kind === 'record' && writer.kind === 'record') return compareRecords(reader, writer, at, note, visited)
  if ((reader.kind === 'array' && writer.kind === 'array') || (reader.kind === 'map' && writer.kind === 'map')) {
    return compare(reader.items, writer.items, `${at}[]`, note, visited)
  }
  if (reader.kind === 'enum' && writer.kind === 'enum') {
    const unknown = writer.symbols.filter((symbol) => !reader.symbols.includes(symbol))
    if (unknown.length > 0) note(at, `symbols ${unknown.join(', ')} are not known`)
    return
  }
  if (reader.kind === 'fixed' && writer.kind === 'fixed' && reader.size !== writer.size) return note(at, `${writer.size} bytes, not ${reader.size}`)
  if (reader.kind !== writer.kind && promotions[writer.kind]?.includes(reader.kind) !== true) return note(at, `${nameOf(writer)} is not ${nameOf(reader)}`)
  const [read, written] = [logicalOf(reader), logicalOf(writer)]
  if (read !== written) note(at, `${written ?? 'no logical type'} is not ${read ?? 'plain'}`)
}

function compareRecords(reader: RecordType, writer: RecordType, at: string, note: Note, visited: Set<string>): void {
  // A type that stands in several places breaks in the first: once is enough to say, and recursive ones end.
  const key = `${reader.name} ${writer.name}`
  if (visited.has(key)) return
  visited.add(key)
  for (const field of reader.fields) {
    const place = at === '' ? field.name : `${at}.${field.name}`
    const other = writer.fields.find(({ name }) => name === field.name || field.aliases.includes(name))
    if (other) compare(field.type, other.type, place, note, visited)
    else if (!field.hasDefault) note(place, 'the field is missing and has no default')
  }
}

function logicalOf(type: AvroType): string | undefined {
  const logical = 'logical' in type ? type.logical : undefined
  return logical && `${logical.name}${logical.name === 'decimal' ? ` of scale ${logical.scale}` : ''}`
}

function nameOf(type: AvroType): string {
  return type.kind === 'record' ? `record ${type.name}` : type.kind
}
