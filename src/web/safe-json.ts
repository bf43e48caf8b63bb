import { HarrierError } from '../base/errors.js'

const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const QUOTE = 0x22
const BACKSLASH = 0x5c

/**
 * Parses JSON that a stranger has sent: UTF-8, at most `depthMax` brackets deep (looked at before anything is built), and without
 * a key that would reach an object's prototype. Errors: REQUEST_INVALID.
 */
export function parseUntrusted(bytes: Uint8Array, depthMax: number): unknown {
  checkDepth(bytes, depthMax)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new HarrierError('REQUEST_INVALID', 'the body is not UTF-8')
  }
  try {
    return JSON.parse(text, text.includes('__proto__') || text.includes('\\u') ? refusePrototype : undefined)
  } catch (error) {
    if (error instanceof HarrierError) throw error
    // V8's message quotes the body
    throw new HarrierError('REQUEST_INVALID', bytes.length === 0 ? 'the body is empty' : 'the body is not JSON')
  }
}

function refusePrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new HarrierError('REQUEST_INVALID', 'the body has a key "__proto__"')
  return value
}

function checkDepth(bytes: Uint8Array, depthMax: number): void {
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE) {
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > depthMax) throw new HarrierError('REQUEST_INVALID', `the body is more than ${depthMax} brackets deep`)
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth--
  }
}
