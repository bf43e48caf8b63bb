import type { Arena } from '../base/arena.js'
import { partitionByKey, type RecordColumns } from '../base/record-columns.js'
import { encodeString, longBytesMax, writeByte, writeLong, writeRaw } from '../codec/avro-writer.js'
import { schemaPrefix } from '../codec/registry-prefix.js'
import type { TransactionChunk } from './transaction-source.js'

/** Appends rows as records of a topic (by index) that go by their keys: schemas/transaction.avsc and schemas/label.avsc. */
export interface RecordEncoder {
  transaction(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void
  label(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void
}

export interface EventTimes {
  /** Wall-clock time of the beginning of day 0, ms since 1970. */
  readonly epochMs: number
  readonly labelDelayMs: number
}

export const currency = 'EUR'

/** Room for any of these records: five longs, two texts of digits, prefix and currency. */
const recordBytesMax = 6 * longBytesMax + 3 * 12 + 16

/** By hand, into the columns that are sent: a library's encoder costs several times as much for each record. */
export class AvroRecordEncoder implements RecordEncoder {
  readonly #times: EventTimes
  readonly #transactionPrefix: Uint8Array
  readonly #labelPrefix: Uint8Array
  readonly #currency = encodeString(currency)

  constructor(times: EventTimes, schemaIds: { transaction: number; label: number }) {
    this.#times = times
    this.#transactionPrefix = schemaPrefix(schemaIds.transaction)
    this.#labelPrefix = schemaPrefix(schemaIds.label)
  }

  transaction(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void {
    const { arena } = columns
    const at = beginRecord(columns, topic, timestampMs, chunk.customer[row]!)
    writeRaw(arena, this.#transactionPrefix)
    writeLong(arena, chunk.firstId + row)
    writeLong(arena, this.#times.epochMs + chunk.seconds[row]! * 1000)
    writeDigits(arena, chunk.customer[row]!)
    writeDigits(arena, chunk.terminal[row]!)
    writeLong(arena, chunk.amountCents[row]!)
    writeRaw(arena, this.#currency)
    columns.setValue(columns.count - 1, at, arena.used - at)
  }

  label(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void {
    const { arena } = columns
    const at = beginRecord(columns, topic, timestampMs, chunk.customer[row]!)
    const eventTime = this.#times.epochMs + chunk.seconds[row]! * 1000
    writeRaw(arena, this.#labelPrefix)
    writeLong(arena, chunk.firstId + row)
    writeDigits(arena, chunk.customer[row]!)
    writeDigits(arena, chunk.terminal[row]!)
    writeLong(arena, eventTime)
    writeLong(arena, eventTime + this.#times.labelDelayMs)
    writeByte(arena, chunk.isFraud[row]!)
    writeLong(arena, chunk.scenario[row]!)
    columns.setValue(columns.count - 1, at, arena.used - at)
  }
}

/** A row with its key, the customer's digits alone, without a length; returns where its value begins. */
function beginRecord(columns: RecordColumns, topic: number, timestampMs: number, customer: number): number {
  const { arena } = columns
  arena.reserve(recordBytesMax)
  const row = columns.begin(topic, partitionByKey, 0, timestampMs)
  const at = arena.used
  writeDigits(arena, customer)
  columns.setKey(row, at + 1, arena.used - at - 1)
  return arena.used
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

  transaction(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void {
    const value = {
      transaction_id: chunk.firstId + row,
      event_time: this.#times.epochMs + chunk.seconds[row]! * 1000,
      customer_id: String(chunk.customer[row]),
      terminal_id: String(chunk.terminal[row]),
      amount_minor: chunk.amountCents[row],
      currency,
    }
    columns.append(topic, partitionByKey, 0, timestampMs, Buffer.from(value.customer_id), Buffer.from(JSON.stringify(value)))
  }

  label(chunk: TransactionChunk, row: number, columns: RecordColumns, topic: number, timestampMs: number): void {
    const eventTime = this.#times.epochMs + chunk.seconds[row]! * 1000
    const value = {
      transaction_id: chunk.firstId + row,
      customer_id: String(chunk.customer[row]),
      terminal_id: String(chunk.terminal[row]),
      event_time: eventTime,
      known_at: eventTime + this.#times.labelDelayMs,
      is_fraud: chunk.isFraud[row] === 1,
      scenario: chunk.scenario[row],
    }
    columns.append(topic, partitionByKey, 0, timestampMs, Buffer.from(value.customer_id), Buffer.from(JSON.stringify(value)))
  }
}
