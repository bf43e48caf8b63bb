import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { askBroker } from '../../src/stack/health.js'
import { processesNaming } from '../stack/stack-fixture.js'

describe('the broker of a test', () => {
  it('ends with its test process, even one that is killed', { skip: existsSync('/proc/self/cmdline') ? false : 'needs /proc' }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-killed-test-'))
    const script = `const { startTestStack } = await import('${new URL('./test-stack.js', import.meta.url).href}')
      process.stdout.write((await startTestStack({ registry: false })).brokers)
      setInterval(() => undefined, 1000)`
    const env = { ...process.env, HARRIER_TEST_STACK: 'java', TMPDIR: folder }
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'], env })
    const brokers = await new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())))
    assert.equal((await askBroker(brokers)).ok, true)
    assert.ok(processesNaming(folder).length > 0)

    child.kill('SIGKILL')
    for (let tries = 0; tries < 200 && (readdirSync(folder).length > 0 || processesNaming(folder).length > 0); tries++) await systemClock.sleep(50)
    assert.deepEqual(processesNaming(folder), [])
    assert.deepEqual(readdirSync(folder), [])
    assert.equal((await askBroker(brokers)).ok, false)
    rmSync(folder, { recursive: true })
  })
})
