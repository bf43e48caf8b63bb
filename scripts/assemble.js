// Copies what runs, and nothing that only builds or tests, into an empty folder: node scripts/assemble.js FOLDER
// The Dockerfile makes its image of it. Wants `npm ci` to have been run, and dist/ to be compiled.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = process.argv[2] && resolve(process.argv[2])
/** Runtimes of onnxruntime for other machines. */
const foreign = (path) => {
  const [, platform, arch] = /^onnxruntime-node\/bin\/[^/]+\/([^/]+)(?:\/([^/]+))?/.exec(path) ?? []
  return (platform !== undefined && platform !== process.platform) || (arch !== undefined && arch !== process.arch)
}
if (!target || (existsSync(target) && readdirSync(target).length > 0)) {
  console.error('usage: node scripts/assemble.js FOLDER, which is empty or not there')
  process.exit(2)
}

/** Of our own; `dist` without tests. */
const own = ['package.json', 'LICENSE', 'bin', 'dist/src', 'dist/bench', 'models', 'topologies', 'schemas', 'page', 'native/build/Release/harrier-kafka.node']
/** Of packages: what a running process never opens. */
const unused = [
  /\.(map|d\.[cm]?ts|md|a|o|cc|h|gyp|mk)$/, /(^|\/)(tests?|e2e|examples?|docs|bench|\.github)$/,
  /^node-rdkafka\/(deps|src|ci|util)$/, /^node-rdkafka\/build\/(Release\/(obj\.target|\.deps)|deps\/(include|librdkafka|pkgconfig|share))$/,
]

const missing = own.find((path) => !existsSync(join(root, path)))
if (missing) {
  console.error(`${missing} is missing: run npm ci first`)
  process.exit(1)
}
for (const path of own) {
  mkdirSync(dirname(join(target, path)), { recursive: true })
  cpSync(join(root, path), join(target, path), { recursive: true, filter: (source) => !/\.(map|d\.ts)$/.test(source) })
}

const listed = spawnSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: root, encoding: 'utf8' })
const packages = listed.stdout.split('\n').filter((path) => path.includes('node_modules'))
if (packages.length === 0) {
  console.error(`npm ls told of no packages: ${listed.stderr}`)
  process.exit(1)
}
for (const folder of packages) {
  const from = folder.slice(folder.indexOf('node_modules'))
  cpSync(folder, join(target, from), {
    recursive: true,
    verbatimSymlinks: true,
    // nested packages are in the list themselves, if they are needed
    filter: (source) => {
      const path = relative(join(root, 'node_modules'), source)
      return source === folder || !(source.endsWith('/node_modules') || foreign(path) || unused.some((pattern) => pattern.test(path)))
    },
  })
}

/** Whoever runs it may read it, and change nothing. */
function protect(path) {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) return
  chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o555 : 0o444)
  if (stat.isDirectory()) for (const name of readdirSync(path)) protect(join(path, name))
}
protect(target)
