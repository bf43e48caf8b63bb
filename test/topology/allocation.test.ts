import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

/** A number on the heap takes 16; an event has a dozen that could go there. Half of all hashes do, and what a batch makes is shared. */
const bytesPerEventMax = 32
/** V8 compiles what is warm at once, not when another thread comes to it: beside other tests that may be after the measurement, and code that is not compiled boxes its numbers. */
const compileAtOnce = '--no-concurrent-recompilation'

for (const tokens of [false, true]) test(`an event makes no object on the heap of the main thread: less than ${bytesPerEventMax} bytes each, when the code is warm${tokens ? ', with tokens under two keys too' : ''}`, () => {
  const printed = execFileSync(process.execPath, [compileAtOnce, new URL('allocation-loop.js', import.meta.url).pathname, ...(tokens ? ['--tokens'] : [])], { encoding: 'utf8' })
  const found = (JSON.parse(printed) as [name: string, bytes: number][]).sort((a, b) => b[1] - a[1])
  const perEvent = found.reduce((sum, [, bytes]) => sum + bytes, 0)
  assert.ok(perEvent < bytesPerEventMax, `${perEvent.toFixed(1)} bytes an event: ${found.slice(0, 6).map(([name, bytes]) => `${name} ${bytes.toFixed(1)}`).join(', ')}`)
  assert.ok(perEvent > 0, 'something was counted')
})
