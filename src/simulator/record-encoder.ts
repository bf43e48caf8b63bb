import { Arena } from '../base/arena.js'
import { encodeString, longBytesMax, writeByte, writeLong, writeRaw } from '../codec/avro-writer.js'
import { schemaPrefix } from '../codec/registry-prefix.js'
import type { TransactionChunk } from './transaction-source.js'

/** The bytes of one record, valid until the next is encoded. */
export interface EncodedRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** Turns rows into records: schemas/transaction.avsc and schemas/label.avsc. */
export interface RecordEncoder {
  transaction(chunk: TransactionChunk, row: number): EncodedRecord
  label(chunk: TransactionChunk, row: number): EncodedRecord
}

export interface EventTimes {
  /** Wall-clock time of the beginning of day 0, ms since 1970. */
  readonly epochMs: number
  readonly labelDelayMs: number
}

export const currency = 'EUR'

/** Room for any of these records: five longs, two texts of digits, prefix and currency. */
const recordBytesMax = 6 * longBytesMax + 3 * 12 + 16

/** By hand into one reused buffer: a library's encoder costs several times as much for each record. */
export class AvroRecordEncoder implements RecordEncoder {
  readonly #arena = new Arena(1 << 10)
  readonly #times: EventTimes
  readonly #transactionPrefix: Uint8Array
  readonly #labelPrefix: Uint8Array
  readonly #currency = encodeString(currency)

  constructor(times: EventTimes, schemaIds: { transaction: number; label: number }) {
    this.#times = times
    this.#transactionPrefix = schemaPrefix(schemaIds.transaction)
    this.#labelPrefix = schemaPrefix(schemaIds.label)
  }

  transaction(chunk: TransactionChunk, row: number): EncodedRecord {
    const arena = this.#arena
    const keyEnd = this.#begin(chunk.customer[row]!)
    writeRaw(arena, this.#transactionPrefix)
    writeLong(arena, chunk.firstId + row)
    writeLong(arena, this.#times.epochMs + chunk.seconds[row]! * 1000)
    writeDigits(arena, chunk.customer[row]!)
    writeDigits(arena, chunk.terminal[row]!)
    writeLong(arena, chunk.amountCents[row]!)
    writeRaw(arena, this.#currency)
    return this.#end(keyEnd)
  }

  label(chunk: TransactionChunk, row: number): EncodedRecord {
    const arena = this.#arena
    const keyEnd = this.#begin(chunk.customer[row]!)
    const eventTime = this.#times.epochMs + chunk.seconds[row]! * 1000
    writeRaw(arena, this.#labelPrefix)
    writeLong(arena, chunk.firstId + row)
    writeDigits(arena, chunk.customer[row]!)
    writeDigits(arena, chunk.terminal[row]!)
    writeLong(arena, eventTime)
    writeLong(arena, eventTime + this.#times.labelDelayMs)
    writeByte(arena, chunk.isFraud[row]!)
    writeLong(arena, chunk.scenario[row]!)
    return this.#end(keyEnd)
  }

  /** The key is the customer's digits alone, without a length. */
  #begin(customer: number): number {
    this.#arena.reset()
    this.#arena.reserve(recordBytesMax)
    writeDigits(this.#arena, customer)
    return this.#arena.used
  }

  #end(keyEnd: number): EncodedRecord {
    const { bytes, used } = this.#arena
    return { key: bytes.subarray(1, keyEnd), value: bytes.subarray(keyEnd, used) }
  }
}

/** A natural number as an Avro string of decimal digits. */
function writeDigits(arena: Arena, value: number): void {
  let digits = 1
  for (let power = 10; power <= value; power *= 10) digits++
  const { bytes, used } = arena
  bytes[used] = digits << 1
  let rest = value
  for (let at = used + digits; at > used; at--) {
    const next = Math.floor(rest / 10)
    bytes[at] = 48 + rest - next * 10
    rest = next
  }
  arena.used = used + digits + 1
}

/** The same fields as JSON objects, for topologies with `format: json`. */
export class JsonRecordEncoder implements RecordEncoder {
  readonly #times: EventTimes

  constructor(times: EventTimes) {
    this.#times = times
  }

  transaction(chunk: TransactionChunk, row: number): EncodedRecord {
    return encodeJson(chunk, row, {
      transaction_id: chunk.firstId + row,
      event_time: this.#times.epochMs + chunk.seconds[row]! * 1000,
      customer_id: String(chunk.customer[row]),
      terminal_id: String(chunk.terminal[row]),
      amount_minor: chunk.amountCents[row],
      currency,
    })
  }

  label(chunk: TransactionChunk, row: number): EncodedRecord {
    const eventTime = this.#times.epochMs + chunk.seconds[row]! * 1000
    return encodeJson(chunk, row, {
      transaction_id: chunk.firstId + row,
      customer_id: String(chunk.customer[row]),
      terminal_id: String(chunk.terminal[row]),
      event_time: eventTime,
      known_at: eventTime + this.#times.labelDelayMs,
      is_fraud: chunk.isFraud[row] === 1,
      scenario: chunk.scenario[row],
    })
  }
}

function encodeJson(chunk: TransactionChunk, row: number, value: object): EncodedRecord {
  return { key: Buffer.from(String(chunk.customer[row])), value: Buffer.from(JSON.stringify(value)) }
}
