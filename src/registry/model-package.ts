import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { HarrierError, messageOf } from '../base/errors.js'
import { modelDigest } from '../inference/manifest.js'
import { sha256OfFile, type LoadedModel } from '../inference/loaded-model.js'
import { loadModelFolder } from '../inference/model-store.js'
import { readRegistration, type Registration } from '../inference/registration.js'
import { filesOf } from './register-model.js'

// One file that holds a model version:
//   "HARRIER-MODEL-1\n", u32 bytes of the header (big-endian), the header as JSON, 64 bytes of ed25519 signature over the header,
//   then the files, one after the other, as the header lists them.
// The header has the sha256 of every file, so the signature covers them all.
const magic = Buffer.from('HARRIER-MODEL-1\n')
const signatureBytes = 64
const headerBytesMax = 1 << 20
const pieceBytes = 1 << 20

const headerSchema = z.strictObject({
  model: z.string(),
  /** As lineage names it. */
  sha256: z.string(),
  files: z.array(z.strictObject({ name: z.string().regex(/^[^/\\]+$/), bytes: z.number().int().nonnegative(), sha256: z.string() })).min(2),
  registration: z.unknown(),
  exportedBy: z.string(),
  /** ISO 8601 */
  exportedAt: z.string(),
  harrier: z.string(),
  /** Of the signer, SPKI in base64: who trusts it says so by a key of their own. */
  publicKey: z.string(),
})
export type PackageHeader = z.infer<typeof headerSchema>

/** A private key of ed25519 in PEM, for example of `openssl genpkey -algorithm ed25519`. Errors: CONFIG_INVALID. */
export function readSigningKey(file: string): KeyObject {
  return readKey(file, 'private', createPrivateKey)
}

/** A public key of ed25519 in PEM. Errors: CONFIG_INVALID. */
export function readTrustedKey(file: string): KeyObject {
  return readKey(file, 'public', createPublicKey)
}

function readKey(file: string, what: string, parse: (pem: Buffer) => KeyObject): KeyObject {
  const remedy = `make a pair with: openssl genpkey -algorithm ed25519 -out model-key.pem; openssl pkey -in model-key.pem -pubout -out model-key.pub.pem`
  let key: KeyObject
  try {
    key = parse(readFileSync(file))
  } catch (error) {
    // What was read is not repeated: it may be half a secret.
    throw new HarrierError('CONFIG_INVALID', `${file} holds no ${what} key in PEM`, { remedy, ...((error as NodeJS.ErrnoException).code === 'ENOENT' ? { cause: error } : {}) })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new HarrierError('CONFIG_INVALID', `the key in ${file} is of type ${key.asymmetricKeyType}, not ed25519`, { remedy })
  return key
}

/** Sixteen hexadecimal digits that name a public key. */
export function keyId(key: KeyObject): string {
  return createHash('sha256').update(spkiOf(key)).digest('hex').slice(0, 16)
}

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key.type === 'private' ? key.export({ type: 'pkcs8', format: 'pem' }) : key.export({ type: 'spki', format: 'pem' })).export({ type: 'spki', format: 'der' })
}

export interface ExportOptions {
  /** Of the version. */
  readonly folder: string
  readonly out: string
  readonly key: KeyObject
  readonly actor: string
  readonly nowMs: number
  readonly harrier: string
}

/** Writes a version into one signed file; its files are checked first. Errors: those of loading it. */
export function exportModel({ folder, out, key, actor, nowMs, harrier }: ExportOptions): PackageHeader {
  const model = loadModelFolder(folder)
  const files = filesOf(model).map((name) => ({ name, bytes: statSync(join(folder, name)).size, sha256: sha256OfFile(join(folder, name)) }))
  const header: PackageHeader = {
    model: model.reference,
    sha256: modelDigest(model.manifest),
    files,
    registration: readRegistration(folder) ?? null,
    exportedBy: actor,
    exportedAt: new Date(nowMs).toISOString(),
    harrier,
    publicKey: spkiOf(key).toString('base64'),
  }
  const bytes = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  writeFileSync(out, Buffer.concat([magic, length, bytes, sign(null, bytes, key)]))
  const into = openSync(out, 'a')
  try {
    for (const { name } of files) copyBytes(join(folder, name), into)
  } finally {
    closeSync(into)
  }
  return header
}

function copyBytes(from: string, into: number): void {
  const source = openSync(from, 'r')
  const piece = Buffer.allocUnsafe(pieceBytes)
  try {
    for (let bytes = 0; (bytes = readSync(source, piece)) > 0; ) writeSync(into, piece, 0, bytes)
  } finally {
    closeSync(source)
  }
}

/** A version out of a package, in a folder of its own until it is registered. */
export interface Unpacked {
  readonly header: PackageHeader
  readonly model: LoadedModel
  readonly folder: string
  readonly signedBy: string
  /** What the exporter's registry said of it. */
  readonly registration: Registration | null
  remove(): void
}

/**
 * Checks signature and files of a package, and unpacks it. Nothing of it is looked at before the signature of a trusted key is found
 * to be right. Errors: PACKAGE_REFUSED.
 */
export function unpackModel(file: string, trusted: readonly KeyObject[]): Unpacked {
  const refuse = (message: string, remedy: string, cause?: unknown): never => {
    throw new HarrierError('PACKAGE_REFUSED', `${file}: ${message}`, { remedy, cause })
  }
  const again = 'get the file again from whoever exported it'
  const source = openSync(file, 'r')
  let position = 0
  const take = (bytes: number, into = Buffer.alloc(bytes)): Buffer => {
    if (readSync(source, into, 0, bytes, position) !== bytes) refuse('ends too early', again)
    position += bytes
    return into.subarray(0, bytes)
  }
  const folder = mkdtempSync(join(tmpdir(), 'harrier-model-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  try {
    const size = statSync(file).size
    if (size < magic.length + 4 + signatureBytes || !take(magic.length).equals(magic)) refuse('is no exported model version', '`harrier models export` writes one')
    const length = take(4).readUInt32BE()
    if (length > headerBytesMax || length > size) refuse('its header is too long', again)
    const bytes = Buffer.from(take(length))
    const signature = Buffer.from(take(signatureBytes))
    const signer = trusted.find((key) => verify(null, bytes, key, signature))
    if (!signer) refuse(`it is not signed by ${trusted.length === 0 ? 'anybody who is trusted' : `${trusted.map(keyId).join(', ')}`}${claimedSigner(bytes)}`, 'name the public key of whoever exported it with --trust; if it is the right one, the file was altered')
    const parsed = headerSchema.safeParse(JSON.parse(bytes.toString()))
    const header = parsed.success ? parsed.data : refuse(`its header is of another version of Harrier: ${parsed.error.issues[0]!.message}`, 'import it with the version that exported it')
    for (const { name, bytes: fileBytes, sha256 } of header.files) {
      const into = openSync(join(folder, name), 'wx')
      const hash = createHash('sha256')
      const piece = Buffer.allocUnsafe(pieceBytes)
      try {
        for (let left = fileBytes; left > 0; ) {
          const read = take(Math.min(left, pieceBytes), piece)
          hash.update(read)
          writeSync(into, read)
          left -= read.length
        }
      } finally {
        closeSync(into)
      }
      if (hash.digest('hex') !== sha256) refuse(`${name} was altered: its sha256 is not the one that was signed`, again)
    }
    if (position !== size) refuse('has more bytes than were signed', again)
    const model = loadModelFolder(folder)
    if (model.reference !== header.model || modelDigest(model.manifest) !== header.sha256) refuse('its manifest is of another version than its header', again)
    return { header, model, folder, signedBy: keyId(signer!), registration: (header.registration ?? null) as Registration | null, remove }
  } catch (error) {
    remove()
    if (error instanceof HarrierError) throw error
    return refuse(`cannot be read: ${messageOf(error)}`, again, error)
  } finally {
    closeSync(source)
  }
}

/** Who it says has signed it: for the message only. */
function claimedSigner(header: Buffer): string {
  try {
    const { publicKey } = JSON.parse(header.toString()) as { publicKey: string }
    return `; it names the key ${createHash('sha256').update(Buffer.from(publicKey, 'base64')).digest('hex').slice(0, 16)}`
  } catch {
    return ''
  }
}
