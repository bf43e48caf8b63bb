import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { withTimeout } from '../../src/base/clock.js'
import { startTestStack, type TestStack } from '../broker/test-stack.js'
import { root } from './documents.js'

const namespace = 'docs'
const events = 300

describe('the way from the README to a reader of scores', { timeout: 300_000 }, () => {
  let stack: TestStack
  let env: NodeJS.ProcessEnv
  const children: ChildProcess[] = []

  function start(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    return child
  }

  /** What a process prints, until it is enough. */
  function lines(child: ChildProcess, isEnough: (lines: readonly string[]) => boolean): Promise<string[]> {
    const found: string[] = []
    const read = new Promise<string[]>((resolve, reject) => {
      child.on('exit', (code) => reject(new Error(`it ended with ${code} after ${found.length} lines`)))
      createInterface({ input: child.stdout! }).on('line', (line) => {
        found.push(line)
        if (isEnough(found)) resolve(found)
      })
    })
    return withTimeout(read, 120_000, () => new Error(`only ${found.length} lines came`))
  }

  before(async () => {
    stack = await startTestStack()
    env = { ...process.env, HARRIER_BROKERS: stack.brokers, HARRIER_REGISTRY: stack.registryUrl }
    const simulate = ['bin/harrier.js', 'simulate', '--namespace', namespace, '--generator', 'counter', '--customers', '200', '--days', '3', '--events', String(events), '--labels', 'none']
    await promisify(execFile)(process.execPath, simulate, { cwd: root, env })
    const engine = start('bin/harrier.js', 'run', '--namespace', namespace, '--create-topics', '--json')
    await lines(engine, (printed) => (JSON.parse(printed.at(-1)!) as { counters: { scored: number } }).counters.scored === events)
  })

  after(async () => {
    for (const child of children) child.kill('SIGKILL')
    await stack.stop()
  })

  it('docs/examples/subscribe.js prints every scored event once, decoded by the library of others', async () => {
    const found = await lines(start('docs/examples/subscribe.js', `${namespace}.card-fraud.scored`), (printed) => printed.length === events)
    const ids = found.map((line) => line.split(' ')[0]!)
    assert.equal(new Set(ids).size, events)
    for (const line of found) assert.match(line, /^\d+ \d+ [01]\.\d{3} (APPROVE|REVIEW|DECLINE) card-gru@1 \d+ card-fraud\/customer\/\d+#\d+$/)
  })

  it('harrier tail follows the lineage of the same batches', async () => {
    const args = ['bin/harrier.js', 'tail', 'lineage', '--namespace', namespace, '--from-beginning', '--json', '--count', '1']
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env })
    const { value } = JSON.parse(stdout) as { value: { task: string; sequence: number; models: { model: string; sha256: string }[] } }
    assert.match(value.task, /^card-fraud\/customer\/\d+$/)
    assert.equal(value.models[0]!.model, 'card-gru@1')
    assert.match(value.models[0]!.sha256, /^[0-9a-f]{64}$/)
  })
})
