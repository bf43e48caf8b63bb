// IEEE 754 binary16 in a Uint16Array: JavaScript has no array of its own for it in every supported version of Node.

const float = new Float32Array(1)
const word = new Uint32Array(float.buffer)

/** The nearest binary16 number, ties to even; beyond 65504 infinity. */
export function toFloat16(value: number): number {
  float[0] = value
  const bits = word[0]!
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  // 65520, from where rounding reaches infinity
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    // a normal number: 13 bits of the fraction fall away
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1)
    return sign | ((rounded - 0x38000000) >>> 13)
  }
  if (magnitude < 0x33000000) return sign
  // a subnormal number: a multiple of 2^-24
  const shift = 126 - (magnitude >>> 23)
  const fraction = (magnitude & 0x7fffff) | 0x800000
  const half = 1 << (shift - 1)
  const rest = fraction & ((1 << shift) - 1)
  const whole = fraction >>> shift
  return sign | (whole + (rest > half || (rest === half && (whole & 1) === 1) ? 1 : 0))
}

/** The value of binary16 bits; exact. */
export function fromFloat16(bits: number): number {
  const sign = (bits & 0x8000) !== 0 ? -1 : 1
  const exponent = (bits >>> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
