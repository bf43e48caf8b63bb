import { createPublicKey, type KeyObject } from 'node:crypto'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { DevicePolicy } from '../inference/device.js'
import { unpackModel } from './model-package.js'
import { registerModel, type Registered, type RegisterOptions } from './register-model.js'

export interface ImportOptions {
  /** What `exportModel` has written. */
  readonly file: string
  /** Where versions live. */
  readonly root: string
  readonly trusted: readonly KeyObject[]
  /** Names that may be registered; null: all. */
  readonly names: readonly string[] | null
  readonly actor: string
  readonly device: DevicePolicy
  readonly harrier: string
  /** Puts it elsewhere than into `root`. */
  readonly register?: ((options: Omit<RegisterOptions, 'root'>) => Promise<Registered>) | undefined
}

/** Who signed a version that was imported, and what the exporter's registry said of it, beside what registering it gave. */
export interface Imported extends Registered {
  readonly signedBy: string
  readonly exportedBy: string
  readonly exportedAt: string
  readonly origin: { readonly registeredAt: string; readonly actor: string } | null
}

/** Checks the signature of an exported version and registers it. Errors: PACKAGE_REFUSED, FORBIDDEN, those of `registerModel`. */
export async function importVersion({ file, root, trusted, names, actor, device, harrier, register = (options) => registerModel({ ...options, root }) }: ImportOptions): Promise<Imported> {
  const unpacked = unpackModel(file, trusted)
  try {
    const { header, signedBy, registration: origin } = unpacked
    const { exportedBy, exportedAt } = header
    const { name } = unpacked.model.manifest
    if (names && !names.includes(name)) throw new HarrierError('FORBIDDEN', `the key is not for model ${name}`)
    const registered = await register({ folder: unpacked.folder, actor, device, harrier, clock: systemClock, importedFrom: { signedBy, exportedBy, exportedAt } })
    return { ...registered, signedBy, exportedBy, exportedAt, origin }
  } finally {
    unpacked.remove()
  }
}

/** `importVersion` as a task for a process of its own: public keys in PEM. */
export interface ImportTask extends Omit<ImportOptions, 'trusted' | 'register'> {
  readonly trusted: readonly string[]
}

export function importTask({ trusted, ...rest }: Omit<ImportOptions, 'register'>): ImportTask {
  return { ...rest, trusted: trusted.map((key) => key.export({ type: 'spki', format: 'pem' }) as string) }
}

export async function doImport({ trusted, ...rest }: ImportTask): Promise<Omit<Imported, 'model'> & { readonly model: string }> {
  const { model, ...imported } = await importVersion({ ...rest, trusted: trusted.map((pem) => createPublicKey(pem)) })
  return { ...imported, model: model.reference }
}
