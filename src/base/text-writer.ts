/** Writes text as UTF-8 into one growing buffer, numbers without a string for each, and numbers as they lie in memory (little-endian). */
export class TextWriter {
  bytes: Uint8Array
  used = 0
  #buffer: Buffer
  #view: DataView

  constructor(initialBytes = 1 << 16) {
    this.bytes = this.#buffer = Buffer.allocUnsafeSlow(initialBytes)
    this.#view = new DataView(this.#buffer.buffer)
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    if (this.used + size <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.used + size, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.used))
    this.bytes = this.#buffer = grown
    this.#view = new DataView(grown.buffer)
  }

  /** Bytes for which there is room. */
  raw(bytes: Uint8Array): void {
    const to = this.bytes
    let at = this.used
    for (let i = 0; i < bytes.length; i++) to[at++] = bytes[i]!
    this.used = at
  }

  byte(value: number): void {
    this.bytes[this.used++] = value
  }

  /** Eight bytes, for which there is room. */
  float64(value: number): void {
    this.#view.setFloat64(this.used, value, true)
    this.used += 8
  }

  /** Four bytes at a place that has been written. */
  setInt32(at: number, value: number): void {
    this.#view.setInt32(at, value, true)
  }

  text(text: string): void {
    this.reserve(text.length * 3)
    this.used += this.#buffer.write(text, this.used)
  }

  /** A whole number as `String` writes it, up to 2^53; `integerBytesMax` bytes of room are there. */
  integer(value: number): void {
    const to = this.bytes
    let rest = value
    if (rest < 0) {
      to[this.used++] = minus
      rest = -rest
    }
    let digits = 1
    for (let limit = 10; rest >= limit; limit *= 10) digits++
    let at = this.used + digits
    this.used = at
    while (rest >= smallBelow) {
      const high = Math.floor(rest / 10)
      to[--at] = zero + (rest - high * 10)
      rest = high
    }
    let small = rest | 0
    do {
      const high = (small / 10) | 0
      to[--at] = zero + (small - high * 10)
      small = high
    } while (small > 0)
  }
}

/** Of a sign and the digits of 2^53. */
export const integerBytesMax = 17
/** Below it integer arithmetic of 32 bits will do. */
const smallBelow = 2 ** 31
const zero = 0x30
const minus = 0x2d
