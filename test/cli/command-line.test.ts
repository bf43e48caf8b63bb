import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { harrier } from '../stack/stack-fixture.js'

/** Nothing listens there. */
const nowhere = { HARRIER_BROKERS: '127.0.0.1:9', HARRIER_REGISTRY: 'http://127.0.0.1:9' }

describe('the command line', () => {
  it('shows groups of commands and examples within 80 columns', async () => {
    const { code, stdout } = await harrier(['--help'], {})
    assert.equal(code, 0)
    for (const text of ['start', 'tail', 'harrier start --events 100000 --json', '--brokers']) assert.ok(stdout.includes(text), text)
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line)
  })

  const wrong: [string[], RegExp][] = [
    [['start', '--events', '0'], /a whole number of at least 1/],
    [['start', '--rate', 'fast'], /a whole number of at least 1/],
    [['start', '--device', 'tpu'], /cpu, webgpu, cuda or auto/],
    [['start', '--brokers', '127.0.0.1:9'], /a registry|--registry/],
    [['tail'], /missing required argument 'topic'/],
    [['tail', 'scored', '--last', '-1'], /not a natural number/],
    [['tail', 'scored', '--count', 'x'], /a whole number of at least 1/],
    [['tail', 'scored', '--topology', 'nothing'], /there is no topology "nothing"/],
    [['nonsense'], /unknown command/],
  ]
  for (const [args, message] of wrong) {
    it(`ends with code 2 and says why: harrier ${args.join(' ')}`, async () => {
      const { code, stderr, stdout } = await harrier(args, { HARRIER_BROKERS: '', HARRIER_REGISTRY: '' })
      assert.match(stderr, message)
      assert.deepEqual([code, stdout], [2, ''])
    })
  }

  it('ends without a word when nobody reads its output any more', async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url)), 'run', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    assert.deepEqual([said, code], ['', 141])
  })

  it('ends with code 1 when the configured broker is not there, with nothing on standard output', async () => {
    const { code, stderr, stdout } = await harrier(['tail', 'scored'], nowhere)
    assert.match(stderr, /BROKER_UNAVAILABLE/)
    assert.deepEqual([code, stdout], [1, ''])
  })

  it('checks contracts within the time in which a registry must answer', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-check-'))
    try {
      const connection = join(folder, 'bank.yaml')
      writeFileSync(connection, 'brokers: 127.0.0.1:1\nconnectTimeout: 1s\nregistry: { url: "http://127.0.0.1:1" }\n')
      const { code, stdout, stderr } = await harrier(['topology', 'check', 'card-fraud', '--contracts', '--connection', connection], {})
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, /the schema registry http:\/\/127\.0\.0\.1:1 does not answer: .*REFUSED/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
