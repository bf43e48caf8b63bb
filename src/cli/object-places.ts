import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { FolderStore, type ArchiveStore } from '../audit/archive-store.js'
import { ObjectArchive } from '../audit/object-archive.js'
import { systemClock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { environmentObjectStore } from '../connection/object-store.js'
import type { ObjectStoreAccess } from '../connection/security.js'
import { ObjectStore } from '../object-store/object-store.js'
import { isObjectUrl, parseObjectUrl } from '../object-store/object-url.js'
import { ObjectModels } from '../registry/object-models.js'
import { configuredConnections, type ConnectionOptions } from '../stack/connections.js'

/** How an object store is reached, where the connection says so. */
export type StoreChoice = { readonly objectStore?: ObjectStoreAccess | undefined }

/** For commands that need no cluster. */
export function addStoreOptions(command: Command): Command {
  return command.option('--connection <file>', 'connection file with objectStore, where versions are in an object store (default: $HARRIER_CONNECTION, else the AWS_ variables)')
}

/** What the options or the environment say of an object store. Errors: those of a connection file. */
export function storeChoice(options: ConnectionOptions): StoreChoice {
  return configuredConnections(options) ?? {}
}

/** Folders as they are; an object store with copies in a folder of this machine. Errors: USAGE, CONFIG_INVALID. */
export function modelsAt<T extends string | undefined>(models: T, choice: () => StoreChoice, logger: Logger): T | ObjectModels {
  return models !== undefined && isObjectUrl(models) ? objectModels(models, choice(), logger) : models
}

/** `folder`: where copies go; default: a folder for this store in that of the user's cache. */
export function objectModels(url: string, choice: StoreChoice, logger: Logger, folder?: string): ObjectModels {
  const store = storeAt(url, choice, logger)
  const endpoint = accessOf(choice).endpoint ?? ''
  const { bucket } = parseObjectUrl(url)
  const own = `${bucket}-${createHash('sha256').update(`${endpoint} ${store.name}`).digest('hex').slice(0, 12)}`
  return new ObjectModels({ store, folder: folder ?? join(modelCacheFolder(), own), logger })
}

/** Errors: USAGE, CONFIG_INVALID. */
export function archiveAt(place: string, choice: () => StoreChoice, logger: Logger): ArchiveStore {
  if (!isObjectUrl(place)) return new FolderStore(place)
  const store = storeAt(place, choice(), logger)
  return new ObjectArchive({ store, modelStore: storeAt(`${store.name}/models`, choice(), logger) })
}

function storeAt(url: string, choice: StoreChoice, logger: Logger): ObjectStore {
  return new ObjectStore({ access: accessOf(choice), place: parseObjectUrl(url), clock: systemClock, logger })
}

function accessOf({ objectStore }: StoreChoice): ObjectStoreAccess {
  return objectStore ?? environmentObjectStore(process.env)
}

/** $HARRIER_MODEL_CACHE, else $XDG_CACHE_HOME/harrier/models, else ~/.cache/harrier/models. */
function modelCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HARRIER_MODEL_CACHE) return resolve(env.HARRIER_MODEL_CACHE)
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'harrier', 'models')
}
