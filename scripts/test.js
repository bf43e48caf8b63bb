// Runs the compiled tests with node:test and ends with `N passed, N failed`. Arguments: parts of test paths to select.
import { globSync } from './glob.js'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

const wanted = process.argv.slice(2)
const files = globSync('dist/test', /\.test\.js$/).filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(', ')}`)
  process.exit(2)
}

let passed = 0
let failed = 0
const skipped = []
const started = process.hrtime.bigint()
// One file at a time: several start a broker, and the machine may have two cores.
const stream = run({ files, concurrency: 1, timeout: 15 * 60_000 })
const isSuite = (event) => event.details?.type === 'suite' || event.file === event.name || files.some((file) => event.name.endsWith(file))
stream.on('test:pass', (event) => {
  if (event.skip !== undefined) skipped.push(`${event.name}: ${event.skip === true ? 'no reason given' : event.skip}`)
  else if (!isSuite(event)) passed++
})
stream.on('test:fail', (event) => {
  if (event.details?.type !== 'suite') failed++
})
stream.compose(new spec()).pipe(process.stdout, { end: false })
stream.on('end', () => {
  for (const line of skipped) console.log(`skipped ${line}`)
  console.log(`${files.length} files in ${(Number(process.hrtime.bigint() - started) / 1e9).toFixed(0)} s`)
  console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`)
  process.exit(failed > 0 || passed === 0 ? 1 : 0)
})
