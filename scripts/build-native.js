// Compiles the native Kafka client (native/) against the librdkafka that node-rdkafka has compiled, when it is not up to date:
// node scripts/build-native.js [--force] [--asan] [--into FOLDER]. --asan: with AddressSanitizer; --into: a copy elsewhere.
// Needs what node-rdkafka needed: g++, make, python3, and the headers of this Node.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const home = fileURLToPath(new URL('../native/', import.meta.url))
const [force, asan] = ['--force', '--asan'].map((flag) => process.argv.includes(flag))
const into = process.argv.includes('--into') ? process.argv[process.argv.indexOf('--into') + 1] : undefined
const folder = into ?? home
const built = join(folder, 'build/Release/harrier-kafka.node')
const stamp = join(folder, 'build/stamp')

function fail(why, whatToDo = 'apt-get install g++ make python3 (macOS: xcode-select --install), then npm run build:native') {
  console.error(`the native Kafka client is not compiled: ${why}\n  what to do: ${whatToDo}`)
  process.exit(1)
}

/** node-gyp as npm has it: told to scripts that npm runs, and otherwise beside npm. */
function nodeGyp() {
  const told = process.env.npm_config_node_gyp
  if (told && existsSync(told)) return told
  const beside = ['../lib/node_modules/npm', '../node_modules/npm', 'node_modules/npm'].map((path) => join(dirname(realpathSync(process.execPath)), path, 'node_modules/node-gyp/bin/node-gyp.js'))
  return beside.find((file) => existsSync(file))
}

let rdkafka
try {
  rdkafka = dirname(require.resolve('node-rdkafka/package.json'))
} catch {
  fail('node-rdkafka, which brings librdkafka, is not installed', 'npm ci')
}
const include = join(rdkafka, 'deps/librdkafka/src')
const lib = join(rdkafka, 'build/deps')
const library = join(lib, process.platform === 'darwin' ? 'librdkafka.dylib' : 'librdkafka.so')
if (process.platform === 'win32') fail('there is no build of it for Windows', 'run Harrier on Linux or macOS, for example in WSL')
if (!existsSync(join(include, 'rdkafka.h')) || !existsSync(library)) fail(`node-rdkafka has not compiled librdkafka (${library} is missing)`, 'apt-get install g++ make python3, then npm rebuild node-rdkafka && npm run build:native')

const sources = readdirSync(home).filter((name) => /\.(cc|h|gyp)$/.test(name)).sort()
const digest = createHash('sha256')
for (const name of sources) digest.update(readFileSync(join(home, name)))
digest.update(JSON.stringify([process.platform, process.arch, asan, include, require('node-rdkafka/package.json').version]))
const wanted = digest.digest('hex')
if (!force && existsSync(built) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) process.exit(0)

if (into) {
  mkdirSync(into, { recursive: true })
  for (const name of sources) cpSync(join(home, name), join(into, name))
}
const gyp = nodeGyp()
if (!gyp) fail('node-gyp was not found beside npm', 'install npm with this Node.js, or start this by npm: npm run build:native')
console.log('compiling the native Kafka client')
// Headers beside this Node, as distributions have them, need no download; otherwise node-gyp takes those that node-rdkafka was compiled with.
const prefix = dirname(dirname(realpathSync(process.execPath)))
const nodedir = !process.env.npm_config_nodedir && existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : []
// Relative to the addon, so that the project can be moved.
const fromHere = relative(dirname(built), lib)
const ran = spawnSync(process.execPath, [gyp, 'rebuild', ...nodedir, '--directory', folder, '--', `-Drdkafka_include=${include}`, `-Drdkafka_lib=${lib}`, `-Drdkafka_from_here=${fromHere}`, `-Dasan=${asan ? 1 : 0}`], { encoding: 'utf8' })
if (ran.status !== 0 || !existsSync(built)) {
  const said = `${ran.stdout ?? ''}${ran.stderr ?? ''}`.trim().split('\n')
  console.log(said.filter((line) => /error|ERR!/.test(line)).slice(0, 20).join('\n') || said.slice(-20).join('\n'))
  fail('the compiler or node-gyp failed, see above')
}
writeFileSync(stamp, wanted)
