import type { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { asHarrierError, type KafkaError } from '../consumer/kafka-errors.js'

/** What is said when librdkafka takes a row for too large: it does not tell which, so the largest is named. */
export function recordTooLarge(error: KafkaError, columns: RecordColumns, topics: readonly string[]): HarrierError {
  let largest = 0
  for (let row = 1; row < columns.count; row++) if (columns.valueBytes[row]! > columns.valueBytes[largest]!) largest = row
  const bytes = Math.max(0, columns.keyBytes[largest]!) + Math.max(0, columns.valueBytes[largest]!)
  return asHarrierError('LIMIT_EXCEEDED', `a record of ${bytes} bytes for ${topics[columns.topic[largest]!]!} exceeds message.max.bytes`, error)
}
