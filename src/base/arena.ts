import { assert } from './assert.js'

/** One growing byte buffer that is reused: `reset` keeps the memory. Positions stay valid when it grows; views do not. */
export class Arena {
  bytes: Uint8Array
  view: DataView
  used = 0
  readonly bytesMax: number

  constructor(initialBytes = 1 << 20, bytesMax = 1 << 30) {
    assert(initialBytes <= bytesMax, 'an arena starts within its limit')
    this.bytes = new Uint8Array(initialBytes)
    this.view = new DataView(this.bytes.buffer)
    this.bytesMax = bytesMax
  }

  reset(): void {
    this.used = 0
  }

  /** Makes room for `size` more bytes. Call once per record with an upper bound, not per field. */
  reserve(size: number): void {
    const wanted = this.used + size
    if (wanted <= this.bytes.length) return
    assert(wanted <= this.bytesMax, `an arena stays within ${this.bytesMax} bytes`)
    const grown = new Uint8Array(Math.min(this.bytesMax, Math.max(wanted, this.bytes.length * 2)))
    grown.set(this.bytes.subarray(0, this.used))
    this.bytes = grown
    this.view = new DataView(grown.buffer)
  }

  /** Moves on to a multiple of eight bytes, so that words can be written and read in place. */
  align(): void {
    this.reserve(7)
    this.used = (this.used + 7) & ~7
  }

  /** Copies bytes in and returns where they start. */
  append(source: Uint8Array): number {
    this.reserve(source.length)
    const at = this.used
    this.bytes.set(source, at)
    this.used = at + source.length
    return at
  }
}
