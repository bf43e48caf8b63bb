import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** A field of a message: a number, or bytes that stand in the file from `at` to `end`. */
export interface ProtobufField {
  readonly number: number
  readonly wire: number
  /** Varints; beyond 2^53 it is rounded. */
  readonly value: number
  readonly at: number
  readonly end: number
}

const Wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

/** How much of the file is held at a time. */
const pageBytes = 1 << 16
const textBytesMax = 1 << 20

/** Reads protobuf messages from a file by their structure: what is not asked for is passed over and never read. */
export class ProtobufFile {
  readonly #descriptor: number
  readonly #size: number
  readonly #page = Buffer.allocUnsafe(pageBytes)
  #pageAt = 0
  #pageEnd = 0
  #at = 0

  constructor(path: string) {
    this.#descriptor = openSync(path, 'r')
    this.#size = fstatSync(this.#descriptor).size
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  /** The fields of a message; without one, of the whole file. Others may be read between two of them. */
  *fields(message?: Pick<ProtobufField, 'at' | 'end'>): Generator<ProtobufField> {
    let at = message?.at ?? 0
    const end = message?.end ?? this.#size
    while (at < end) {
      this.#at = at
      const tag = this.#varint()
      const number = Math.floor(tag / 8)
      const wire = tag % 8
      let value = 0
      let bytes = 0
      if (wire === Wire.varint) value = this.#varint()
      else if (wire === Wire.bytes) bytes = this.#varint()
      else if (wire === Wire.fixed64) bytes = 8
      else if (wire === Wire.fixed32) bytes = 4
      else throw new Error(`byte ${at} begins no field`)
      const field = { number, wire, value, at: this.#at, end: this.#at + bytes }
      if (number === 0 || field.end > end) throw new Error(`a field at byte ${at} is longer than what it stands in`)
      at = field.end
      yield field
    }
  }

  text({ at, end }: ProtobufField): string {
    if (end - at > textBytesMax) throw new Error(`a text at byte ${at} is longer than ${textBytesMax} bytes`)
    const bytes = Buffer.allocUnsafe(end - at)
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#byte(at + i)
    return bytes.toString('utf8')
  }

  /** A repeated number, packed or not. */
  varints(field: ProtobufField): number[] {
    if (field.wire === Wire.varint) return [field.value]
    const values: number[] = []
    for (this.#at = field.at; this.#at < field.end; ) values.push(this.#varint())
    return values
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte(this.#at++)
      value += (byte & 127) * scale
      if (byte < 128) return value
      scale *= 128
    }
    throw new Error(`a number at byte ${this.#at - 10} has no end`)
  }

  #byte(at: number): number {
    if (at < this.#pageAt || at >= this.#pageEnd) {
      if (at >= this.#size) throw new Error('it ends too early')
      this.#pageAt = at
      this.#pageEnd = at + readSync(this.#descriptor, this.#page, 0, pageBytes, at)
    }
    return this.#page[at - this.#pageAt]!
  }
}
