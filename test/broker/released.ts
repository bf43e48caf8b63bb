import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync } from 'node:zlib'

const packed = fileURLToPath(new URL('../../../test/releases', import.meta.url))
/** Below the checkout, so that its dependencies are found. */
const unpacked = fileURLToPath(new URL('../../releases', import.meta.url))

/** Unpacks a release that scripts/pack-release.js has kept; returns its folder. */
export function unpackRelease(version: string): string {
  const folder = join(unpacked, version)
  rmSync(folder, { recursive: true, force: true })
  const files = JSON.parse(brotliDecompressSync(readFileSync(join(packed, `harrier-${version}.json.br`))).toString()) as Record<string, string>
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}
