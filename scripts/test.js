// Runs the compiled tests with node:test and ends with `N passed, N failed`. Arguments: parts of test paths to select.
// Two files run at once; of those with a broker or a stack one, until there is nothing else to run beside it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { globSync } from './glob.js'

const fileMinutesMax = 15
/** What a file names that starts processes with fixed claims on the machine: brokers, stacks, engines. */
const heavy = /startTestStack|LocalStack|harrier\.js|stack-fixture/

const wanted = process.argv.slice(2)
const files = globSync('dist/test', /\.test\.js$/)
  // A test that was deleted or renamed leaves its compiled file behind.
  .filter((file) => existsSync(file.replace(/^dist\/(.*)\.js$/, '$1.ts')))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(', ')}`)
  process.exit(2)
}

// Nothing to do when it is up to date; what it says matters, since the tests of the native client fail without it.
spawnSync(process.execPath, ['scripts/build-native.js'], { stdio: 'inherit' })

const totals = { passed: 0, failed: 0 }
const skipped = []
const started = process.hrtime.bigint()
const seconds = (since) => (Number(process.hrtime.bigint() - since) / 1e9).toFixed(1)
let done = 0

/** Counts tests, not suites or files; a file that crashes or gives no test counts as one failure. */
function runFile(file) {
  const began = process.hrtime.bigint()
  const counts = { passed: 0, failed: 0 }
  const diagnostics = []
  const failures = []
  const stream = run({ files: [file], concurrency: 1, timeout: fileMinutesMax * 60_000 })
  const isFile = (event) => event.nesting === 0 && event.name.endsWith(file)
  stream.on('test:pass', (event) => {
    if (event.details?.type === 'suite' || isFile(event)) return
    if (event.skip !== undefined) skipped.push(`${file}: ${event.name}: ${event.skip === true ? 'no reason given' : event.skip}`)
    else counts.passed++
  })
  stream.on('test:fail', (event) => {
    const error = event.details?.error
    if (error?.failureType === 'subtestsFailed') return
    counts.failed++
    failures.push(`${event.name}: ${error?.cause?.message ?? error?.message ?? 'failed'}`.slice(0, 500))
  })
  stream.on('test:diagnostic', ({ nesting, message }) => {
    if (nesting > 0) diagnostics.push(message)
  })
  let text = ''
  return new Promise((resolve) => {
    stream
      .compose(new spec())
      .on('data', (chunk) => {
        text += chunk
      })
      .on('end', () => {
        if (counts.passed + counts.failed === 0 && !skipped.some((line) => line.startsWith(file))) {
          counts.failed++
          failures.push(`${file} has no test`)
        }
        totals.passed += counts.passed
        totals.failed += counts.failed
        done++
        const name = file.replace(/^dist\/test\//, '')
        console.log(`${counts.failed > 0 ? 'FAILED' : 'ok    '} ${String(done).padStart(3)}/${files.length}  ${name}  ${counts.passed} passed${counts.failed > 0 ? `, ${counts.failed} failed` : ''}  ${seconds(began)} s`)
        if (counts.failed > 0 || wanted.length > 0) console.log(text)
        else for (const line of diagnostics) console.log(`         ${line}`)
        resolve({ file: name, failures })
      })
  })
}

/** Runs what `next` gives, until it gives none. */
async function runAll(next) {
  const results = []
  for (let file = next(); file !== undefined; file = next()) results.push(await runFile(file))
  return results
}

const isHeavy = (file) => heavy.test(readFileSync(file, 'utf8'))
const heavies = files.filter(isHeavy)
const others = files.filter((file) => !isHeavy(file))
// From both ends: those at the end of the alphabet (soak, stack) have less of a broker than those of its beginning.
const results = (await Promise.all([runAll(() => heavies.shift() ?? others.shift()), runAll(() => others.shift() ?? heavies.pop())])).flat()
for (const line of skipped) console.log(`skipped ${line}`)
for (const { file, failures } of results) for (const failure of failures) console.log(`FAILED  ${file}: ${failure}`)
console.log(`${files.length} files in ${seconds(started)} s${skipped.length > 0 ? `, ${skipped.length} tests skipped` : ''}`)
console.log(`${totals.passed} passed, ${totals.failed} failed`)
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0)
