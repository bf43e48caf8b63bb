import avro from 'avsc'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { card, startMs } from './card-events.js'

export interface MalformedRecord {
  readonly what: string
  readonly key: string | null
  readonly value: Uint8Array | null
  readonly exception: 'RECORD_UNDECODABLE' | 'RECORD_INVALID'
  readonly message: RegExp
}

/** Milliseconds of the first instant of the year 10000. */
const year10000Ms = 253_402_300_800_000
export const unknownSchemaId = 1_987_654

/** Everything that can be wrong with a record of schemas/transaction.avsc. `register` gives the id of another writer's schema. */
export function malformedAvro(encode: (value: object) => Buffer, register: (schema: object) => number): MalformedRecord[] {
  const good = encode(card(77, 'm', startMs))
  const withHead = (head: Uint8Array): Buffer => Buffer.concat([head, good.subarray(5)])
  const wrongTypes = {
    type: 'record',
    name: 'Transaction',
    namespace: 'harrier',
    fields: [
      { name: 'transaction_id', type: 'long' },
      { name: 'event_time', type: 'long' },
      { name: 'customer_id', type: 'string' },
      { name: 'terminal_id', type: 'string' },
      { name: 'amount_minor', type: { type: 'array', items: 'string' } },
    ],
  }
  const doubles = { ...wrongTypes, fields: [...wrongTypes.fields.slice(0, 4), { name: 'amount_minor', type: 'double' }] }
  const other = (schema: object, value: object): Buffer => Buffer.concat([schemaPrefix(register(schema)), avro.Type.forSchema(schema as avro.Schema).toBuffer(value)])
  const malformed = (what: string, value: Uint8Array | null, exception: MalformedRecord['exception'], message: RegExp, key: string | null = 'm'): MalformedRecord => ({ what, key, value, exception, message })
  return [
    malformed('null value', null, 'RECORD_INVALID', /value is null/),
    malformed('empty value', Buffer.alloc(0), 'RECORD_UNDECODABLE', /too short/),
    malformed('bad magic byte', withHead(Buffer.from([7, 0, 0, 0, 1])), 'RECORD_UNDECODABLE', /magic byte/),
    malformed('unknown schema id', withHead(schemaPrefix(unknownSchemaId)), 'RECORD_UNDECODABLE', /unknown schema id: 1987654/),
    malformed('truncated Avro', good.subarray(0, good.length - 3), 'RECORD_UNDECODABLE', /ends too early/),
    malformed('wrong types', other(wrongTypes, { ...card(78, 'm', startMs), amount_minor: ['x'] }), 'RECORD_UNDECODABLE', /cannot serve|schema/),
    malformed('no key', good, 'RECORD_INVALID', /has no key/, null),
    malformed('NaN amount', other(doubles, { ...card(79, 'm', startMs), amount_minor: NaN }), 'RECORD_INVALID', /amount.*(NaN|finite)/),
    malformed('negative amount', encode(card(80, 'm', startMs, { amount_minor: -1 })), 'RECORD_INVALID', /amount.*below its minimum/),
    malformed('the year 10000', encode(card(81, 'm', year10000Ms)), 'RECORD_INVALID', /event_time.*year 9999/),
    malformed('2 MB', encode(card(82, 'm', startMs, { terminal_id: 'x'.repeat(2 << 20) })), 'RECORD_INVALID', /larger than recordBytesMax/),
    malformed('unparsable JSON', Buffer.from('{"transaction_id": 1, '), 'RECORD_UNDECODABLE', /magic byte/),
  ]
}

export function malformedJson(): MalformedRecord[] {
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))
  const good = card(77, 'm', startMs)
  const malformed = (what: string, value: Uint8Array | null, exception: MalformedRecord['exception'], message: RegExp, key: string | null = 'm'): MalformedRecord => ({ what, key, value, exception, message })
  return [
    malformed('null value', null, 'RECORD_INVALID', /value is null/),
    malformed('unparsable JSON', Buffer.from('{"transaction_id": 1, '), 'RECORD_UNDECODABLE', /too early|not JSON/),
    malformed('not JSON at all', Buffer.from([0, 1, 2, 3]), 'RECORD_UNDECODABLE', /not JSON/),
    malformed('wrong types', json({ ...good, amount_minor: { a: 1 } }), 'RECORD_INVALID', /amount.*wrong type/),
    malformed('missing field', json({ ...good, event_time: undefined }), 'RECORD_INVALID', /event_time.*missing/),
    malformed('no key', json(good), 'RECORD_INVALID', /has no key/, null),
    malformed('NaN amount', Buffer.from(JSON.stringify(good).replace('2500', 'NaN')), 'RECORD_UNDECODABLE', /not JSON/),
    malformed('negative amount', json({ ...good, amount_minor: -1 }), 'RECORD_INVALID', /amount.*below its minimum/),
    malformed('the year 10000', json({ ...good, event_time: year10000Ms }), 'RECORD_INVALID', /event_time.*year 9999/),
    malformed('2 MB', json({ ...good, terminal_id: 'x'.repeat(2 << 20) }), 'RECORD_INVALID', /larger than recordBytesMax/),
  ]
}
