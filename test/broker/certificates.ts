import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { systemClock } from '../../src/base/clock.js'

/**
 * X.509 certificates for tests, with nothing but Node: a few structures of DER. Openssl need not be there, and keytool
 * takes seconds for what is done here in milliseconds.
 */
export interface Certificate {
  readonly certificate: string
  /** PKCS 8. */
  readonly key: string
  readonly name: string
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
}

export interface CertificateOptions {
  readonly commonName: string
  /** Default: signs itself, and may sign others. */
  readonly issuer?: Certificate
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  /** Encrypts the key. */
  readonly keyPassword?: string
  /** Names besides 127.0.0.1 and localhost; false: none at all. */
  readonly loopback?: boolean
}

const dayMs = 86_400_000

export function makeCertificate({ commonName, issuer, notBeforeMs, notAfterMs, keyPassword, loopback = true }: CertificateOptions): Certificate {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const nowMs = systemClock.nowMs()
  const extensions = [
    ...(issuer ? [] : [extension('55 1d 13', sequence(bytes(0x01, Buffer.of(0xff))), true)]),
    ...(issuer && loopback ? [extension('55 1d 11', sequence(bytes(0x82, Buffer.from('localhost')), bytes(0x87, Buffer.of(127, 0, 0, 1))))] : []),
    extension('55 1d 0e', bytes(0x04, createHash('sha1').update(keys.publicKey.export({ type: 'spki', format: 'der' })).digest())),
  ]
  const ecdsaWithSha256 = sequence(oid('2a 86 48 ce 3d 04 03 02'))
  const body = sequence(
    bytes(0xa0, integer(Buffer.of(2))),
    integer(Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ecdsaWithSha256,
    nameOf(issuer?.name ?? commonName),
    sequence(time(notBeforeMs ?? nowMs - dayMs), time(notAfterMs ?? nowMs + 30 * dayMs)),
    nameOf(commonName),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    bytes(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', body, (issuer ?? { keys }).keys.privateKey)
  const certificate = sequence(body, ecdsaWithSha256, bytes(0x03, Buffer.concat([Buffer.of(0), signature])))
  const encryption = keyPassword === undefined ? {} : { cipher: 'aes-256-cbc', passphrase: keyPassword }
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64').replace(/.{64}/g, '$&\n').trim()}\n-----END CERTIFICATE-----\n`,
    key: keys.privateKey.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString(),
    name: commonName,
    keys,
  }
}

function bytes(tag: number, content: Buffer): Buffer {
  const length = content.length
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...head), content])
}

const sequence = (...parts: Buffer[]): Buffer => bytes(0x30, Buffer.concat(parts))
const integer = (value: Buffer): Buffer => bytes(0x02, value)
const oid = (hex: string): Buffer => bytes(0x06, Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const nameOf = (commonName: string): Buffer => sequence(bytes(0x31, sequence(oid('55 04 03'), bytes(0x0c, Buffer.from(commonName)))))
const time = (ms: number): Buffer => bytes(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`))

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [bytes(0x01, Buffer.of(0xff))] : []), bytes(0x04, value))
}
