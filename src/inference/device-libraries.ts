import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'

/** Where the dynamic loader looks when neither LD_LIBRARY_PATH nor its cache names a library. */
const standardFolders = ['/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib']
const loaderCache = '/etc/ld.so.cache'

let cachedLibraries: string | undefined

/** The path under which the dynamic loader finds a shared library, as far as can be told without loading it. Linux only. */
export function findSharedLibrary(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = (env.LD_LIBRARY_PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const inFolder = (folders: readonly string[]): string | undefined => folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  return inFolder(named) ?? inCache(name) ?? inFolder(standardFolders)
}

/** The cache is a table of strings behind a head of numbers; a path in it stands between zero bytes. */
function inCache(name: string): string | undefined {
  cachedLibraries ??= existsSync(loaderCache) ? readFileSync(loaderCache, 'latin1') : ''
  const end = cachedLibraries.indexOf(`/${name}\0`)
  if (end < 0) return undefined
  const path = cachedLibraries.slice(cachedLibraries.lastIndexOf('\0', end) + 1, end + 1 + name.length)
  return existsSync(path) ? path : undefined
}

/** Where onnxruntime-node keeps its native files, the providers among them. */
export function onnxruntimeFolder(): string {
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'))
  return join(root, 'bin', 'napi-v6', process.platform, process.arch)
}

/** Fetches the CUDA provider's binaries into the installed package. By node, since npm may be told to run no script of a package. */
export const installCudaCommand = 'ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js'
