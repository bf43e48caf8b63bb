import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { harrier } from '../stack/stack-fixture.js'

// What Node.js says of a binary that was compiled under another major version, as after an upgrade of Node.js without `npm ci`.
const otherNode = `
const load = process.dlopen
process.dlopen = (module, path, ...more) => {
  if (!/harrier-kafka/.test(path)) return load(module, path, ...more)
  throw Object.assign(new Error("The module '" + path + "'\\nwas compiled against a different Node.js version using\\nNODE_MODULE_VERSION 1."), { code: 'ERR_DLOPEN_FAILED' })
}`

const folder = mkdtempSync(join(tmpdir(), 'harrier-dlopen-'))
after(() => rmSync(folder, { recursive: true, force: true }))

describe('the native Kafka client that does not load', () => {
  const hook = join(folder, 'other-node.cjs')
  writeFileSync(hook, otherNode)
  const env = { NODE_OPTIONS: `--require=${hook}`, HARRIER_BROKERS: '127.0.0.1:9', HARRIER_REGISTRY: 'http://127.0.0.1:9' }

  it('is a finding of the doctor, and ends an engine before it starts, both with what to do', async () => {
    const [doctor, run] = await Promise.all([harrier(['doctor'], env), harrier(['run'], env)])
    assert.match(doctor.stdout, /missing +native Kafka client +does not load: it was compiled for another version of Node\.js\n.*npm run build:native/)
    assert.equal(doctor.code, 1)
    assert.match(run.stderr, /harrier: the native Kafka client does not load: .*\n {2}what to do: .*npm run build:native.*\[PREREQUISITE_MISSING\]\n$/)
    assert.equal(run.code, 1)
  })

  it('ends a command that needs a broker, and leaves those alone that need none', async () => {
    const [tail, check] = await Promise.all([harrier(['tail', 'scored'], env), harrier(['topology', 'check', 'card-fraud'], env)])
    assert.match(tail.stderr, /^harrier: the native Kafka client does not load: .*\n {2}what to do: .*npm run build:native.*\[PREREQUISITE_MISSING\]\n$/)
    assert.equal(tail.code, 1)
    assert.equal(check.code, 0, check.stderr)
  })
})
