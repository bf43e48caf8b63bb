import { createCipheriv, createDecipheriv, createHmac, hkdfSync, type KeyObject } from 'node:crypto'
import { HarrierError } from '../base/errors.js'

/** A version of the key of dead letters. */
export interface SealKey {
  readonly version: number
  readonly id: string
  readonly key: KeyObject
}

/** Which record was refused: the header fields of its dead letter, bound to what is sealed. */
export interface LetterPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** All of a record that carries data. `headers` as `RecordColumns` packs them. */
export interface LetterContent {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: Uint8Array
}

const magic = Buffer.from('HDL1')
const nonceBytes = 12
const tagBytes = 16
const headBytes = magic.length + 4 + nonceBytes

/**
 * A dead letter encrypted whole: AES-256-GCM (NIST SP 800-38D) over key, value and headers, with the place of the record as additional
 * data. `HDL1`, version of the key (4 bytes, big-endian), nonce (12), ciphertext, tag (16).
 *
 * The nonce is no chance: it is the first 96 bits of an HMAC-SHA-256, under a key of its own, over place and content. A batch that is
 * done again writes the same bytes; and two contents never share a nonce, not even where a topic was deleted and its offsets begin
 * anew or two clusters have one key, but by a collision of 96 bits: a chance of 2^-33 after 2^32 dead letters of one key. What two equal
 * ciphertexts tell is that the same record of the same place was refused twice.
 */
export function sealLetter({ key, version }: SealKey, place: LetterPlace, content: LetterContent): Uint8Array {
  const plain = pack(content)
  const context = contextOf(place, version)
  const { cipher: cipherKey, nonce: nonceKey } = derived(key)
  const nonce = createHmac('sha256', nonceKey).update(context).update(plain).digest().subarray(0, nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', cipherKey, nonce, { authTagLength: tagBytes })
  cipher.setAAD(context)
  const head = Buffer.alloc(magic.length + 4)
  magic.copy(head)
  head.writeUInt32BE(version, magic.length)
  return Buffer.concat([head, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** The version of the key that a sealed value needs; undefined for a value that is not sealed. */
export function sealVersion(value: Uint8Array | null): number | undefined {
  if (value === null || value.length < headBytes + tagBytes || !magic.equals(value.subarray(0, magic.length))) return undefined
  return Buffer.from(value.buffer, value.byteOffset, value.length).readUInt32BE(magic.length)
}

/** What was sealed, to the byte. Errors: PRIVACY_KEY_MISSING; RECORD_UNDECODABLE where it was altered, or is of another place or key. */
export function openLetter(keys: readonly SealKey[], place: LetterPlace, value: Uint8Array): LetterContent {
  const version = sealVersion(value)
  if (version === undefined) throw new HarrierError('RECORD_UNDECODABLE', 'the dead letter is not encrypted')
  const own = keys.find((each) => each.version === version)
  if (!own) {
    const has = keys.length === 0 ? 'no key of dead letters is at hand' : `the keys at hand are ${keys.map((each) => each.version).join(', ')}`
    throw new HarrierError('PRIVACY_KEY_MISSING', `the dead letter is encrypted under key ${version}, and ${has}`, { remedy: `give the file of keys that has deadLetters version ${version}; without that key nobody can open it, nor send it again` })
  }
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  const context = contextOf(place, version)
  const decipher = createDecipheriv('aes-256-gcm', derived(own.key).cipher, bytes.subarray(magic.length + 4, headBytes), { authTagLength: tagBytes })
  decipher.setAAD(context)
  decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes))
  try {
    return unpack(Buffer.concat([decipher.update(bytes.subarray(headBytes, bytes.length - tagBytes)), decipher.final()]))
  } catch (error) {
    const why = 'it was altered, its headers say another place, or another key had this version'
    throw new HarrierError('RECORD_UNDECODABLE', `the dead letter cannot be opened with key ${version} (${own.id}): ${why}`, { cause: error, remedy: 'give the file of keys with which the engine ran' })
  }
}

/** Two keys from one, each for one use (RFC 5869). */
function derived(key: KeyObject): { cipher: Buffer; nonce: Buffer } {
  const from = (info: string): Buffer => Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), info, 32))
  return { cipher: from('harrier dead letters: cipher'), nonce: from('harrier dead letters: nonce') }
}

function contextOf({ topic, partition, offset }: LetterPlace, version: number): Buffer {
  return Buffer.from(`HDL1/${version}/${topic}/${partition}/${offset}`)
}

function pack({ key, value, headers }: LetterContent): Buffer {
  const lengths = Buffer.alloc(8)
  lengths.writeInt32BE(key ? key.length : -1, 0)
  lengths.writeInt32BE(value ? value.length : -1, 4)
  return Buffer.concat([lengths, key ?? Buffer.alloc(0), value ?? Buffer.alloc(0), headers])
}

function unpack(plain: Buffer): LetterContent {
  const keyLength = plain.readInt32BE(0)
  const valueLength = plain.readInt32BE(4)
  const valueAt = 8 + Math.max(0, keyLength)
  const headersAt = valueAt + Math.max(0, valueLength)
  return { key: keyLength < 0 ? null : plain.subarray(8, valueAt), value: valueLength < 0 ? null : plain.subarray(valueAt, headersAt), headers: plain.subarray(headersAt) }
}
