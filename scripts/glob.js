import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Files under a folder whose path matches, sorted. (node:fs has a glob from Node 22 on; Harrier runs on 20.) */
export function globSync(folder, pattern) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => pattern.test(path))
    .sort()
}
