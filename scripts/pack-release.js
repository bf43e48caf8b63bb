// Packs the built program into test/releases/harrier-<version>.json.br, so that a later release is tested against it:
// npm run build, then node scripts/pack-release.js. Unpacked by test/broker/released.ts.
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs'
import { brotliCompressSync, constants } from 'node:zlib'

const root = new URL('..', import.meta.url)
const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
const wanted = [/^package\.json$/, /^bin\//, /^schemas\//, /^topologies\//, /^page\//, /^dist\/src\/.*\.js$/]
const files = Object.fromEntries(
  ['package.json', 'bin', 'schemas', 'topologies', 'page', 'dist/src']
    .flatMap((entry) => (entry.includes('.') ? [entry] : readdirSync(new URL(entry, root), { recursive: true }).map((name) => `${entry}/${name}`)))
    .filter((path) => wanted.some((pattern) => pattern.test(path)) && /\.\w+$/.test(path))
    .sort()
    .map((path) => [path, readFileSync(new URL(path, root), 'utf8')]),
)
const packed = brotliCompressSync(JSON.stringify(files), { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } })
mkdirSync(new URL('test/releases/', root), { recursive: true })
const file = new URL(`test/releases/harrier-${version}.json.br`, root)
writeFileSync(file, packed)
console.log(`${file.pathname}: ${Object.keys(files).length} files, ${packed.length} bytes`)
