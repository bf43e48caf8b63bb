import { Fault } from './decode-fault.js'
import type { EventColumns } from './event-columns.js'

const showsValue = new Set<number>([Fault.belowMin, Fault.aboveMax, Fault.timeOutOfRange])

/** Notes a packed fault of a row (`packFault`), with the value where the column holds it and a bound forbids it. */
export function decodeRowFault(events: EventColumns, row: number, packed: number): void {
  const code = packed & 255
  const field = (packed >>> 8) - 1
  if (field < 0) return events.setFault(row, code)
  const detail = showsValue.has(code) ? `${events.numbers[field]![row]!}${boundText(code, events.fields[field]!)}` : undefined
  events.setFault(row, code, field, detail)
}

function boundText(code: number, field: { min?: number | undefined; max?: number | undefined }): string {
  if (code === Fault.belowMin) return ` < ${field.min}`
  return code === Fault.aboveMax ? ` > ${field.max}` : ' ms'
}
