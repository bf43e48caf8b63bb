import { createPrivateKey, createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { SecureContextOptions } from 'node:tls'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'

export interface TlsFiles {
  /** PEM of the server's certificate and the chain above it. */
  readonly certificate: string
  /** PEM of its key, not encrypted. */
  readonly key: string
}

/** How often the files are looked at for a renewed certificate. */
export const tlsReloadMs = 10_000

/** No version and no cipher without forward secrecy and authenticated encryption: RFC 9325, and the intermediate profile of Mozilla. */
const rules = {
  minVersion: 'TLSv1.2',
  honorCipherOrder: true,
  ciphers: [
    'TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256',
    ...['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].flatMap((cipher) => [`ECDHE-ECDSA-${cipher}`, `ECDHE-RSA-${cipher}`]),
  ].join(':'),
} as const satisfies SecureContextOptions

/** Certificate and key of a service, as its files have them now. */
export class TlsIdentity {
  readonly #files: TlsFiles
  readonly #clock: Clock
  #digest: string
  /** For `https.createServer`, and for `setSecureContext` after a renewal. */
  options: SecureContextOptions

  private constructor(files: TlsFiles, clock: Clock, read: ReadIdentity) {
    this.#files = files
    this.#clock = clock
    this.#digest = read.digest
    this.options = read.options
  }

  /** Errors: CONFIG_INVALID for files that cannot be used, CERTIFICATE_REFUSED for a certificate that is not valid now. */
  static async load(files: TlsFiles, clock: Clock): Promise<TlsIdentity> {
    return new TlsIdentity(files, clock, await readIdentity(files, clock.nowMs()))
  }

  /** Takes a renewed certificate without a restart: new connections get it. One that cannot be used is told, and the old one stays. */
  follow(server: Server, logger: Logger): () => void {
    let told = ''
    return this.#clock.every(tlsReloadMs, () => {
      this.#renew(server).then(
        (subject) => {
          told = ''
          if (subject !== undefined) logger.log('info', 'a renewed certificate is in use', { certificate: subject })
        },
        (error: unknown) => {
          // once for each cause: files may be written one after the other
          if (messageOf(error) !== told) logger.log('warn', 'the renewed certificate cannot be used; the one before stays', { cause: messageOf(error) })
          told = messageOf(error)
        },
      )
    })
  }

  async #renew(server: Server): Promise<string | undefined> {
    const read = await readIdentity(this.#files, this.#clock.nowMs())
    if (read.digest === this.#digest) return undefined
    this.#digest = read.digest
    this.options = read.options
    ;(server as Server & { setSecureContext(options: SecureContextOptions): void }).setSecureContext(read.options)
    return read.subject
  }
}

interface ReadIdentity {
  readonly options: SecureContextOptions
  readonly digest: string
  readonly subject: string
}

async function readIdentity({ certificate: certificateFile, key: keyFile }: TlsFiles, nowMs: number): Promise<ReadIdentity> {
  const invalid = (message: string): HarrierError => new HarrierError('CONFIG_INVALID', message, { remedy: 'name the PEM files of a certificate and its key with --tls-certificate and --tls-key' })
  const read = async (file: string): Promise<string> => {
    try {
      return await readFile(file, 'utf8')
    } catch (error) {
      throw invalid(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`)
    }
  }
  const cert = await read(certificateFile)
  const key = await read(keyFile)
  let own: X509Certificate
  try {
    own = new X509Certificate(cert)
  } catch {
    throw invalid(`${certificateFile} holds no certificate that can be read`)
  }
  const subject = own.subject.replace(/\n/g, ', ')
  const refused = (why: string): HarrierError => new HarrierError('CERTIFICATE_REFUSED', `the certificate ${certificateFile} (${subject}) ${why}`, { remedy: 'renew it, and its key with it' })
  if (Date.parse(own.validTo) < nowMs) throw refused(`expired on ${new Date(own.validTo).toISOString()}`)
  if (Date.parse(own.validFrom) > nowMs) throw refused(`is not valid before ${new Date(own.validFrom).toISOString()}`)
  let matches: boolean
  try {
    matches = own.checkPrivateKey(createPrivateKey(key))
  } catch {
    throw invalid(`${keyFile} holds no key that can be read without a password`)
  }
  if (!matches) throw invalid(`${keyFile} is not the key of ${certificateFile}`)
  return { options: { ...rules, cert, key }, digest: createHash('sha256').update(cert).update(key).digest('hex'), subject }
}
