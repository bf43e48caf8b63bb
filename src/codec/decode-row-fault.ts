import { Fault } from './decode-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'

const showsValue = new Set<number>([Fault.belowMin, Fault.aboveMax, Fault.timeOutOfRange])

/**
 * Notes a packed fault of a row (`packFault`), with the value where the column holds it and a bound forbids it. `fields`
 * hold the bounds, where a schema has narrowed those of the topology.
 */
export function decodeRowFault(events: EventColumns, row: number, packed: number, fields: readonly FieldSpec[] = events.fields): void {
  const code = packed & 255
  const field = (packed >>> 8) - 1
  if (field < 0) return events.setFault(row, code)
  const isShown = showsValue.has(code) && !events.fields[field]!.personal
  const detail = isShown ? `${events.numbers[field]![row]!}${boundText(code, fields[field]!)}` : undefined
  events.setFault(row, code, field, detail)
}

function boundText(code: number, field: { min?: number | undefined; max?: number | undefined }): string {
  if (code === Fault.belowMin) return ` < ${field.min}`
  return code === Fault.aboveMax ? ` > ${field.max}` : ' ms'
}
