import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { harrier } from '../stack/stack-fixture.js'

// What Node.js says of a binary that was compiled under another major version, as after an upgrade of Node.js without `npm ci`.
const otherNode = (binary: RegExp): string => `
const load = process.dlopen
process.dlopen = (module, path, ...more) => {
  if (!${String(binary)}.test(path)) return load(module, path, ...more)
  throw Object.assign(new Error("The module '" + path + "'\\nwas compiled against a different Node.js version using\\nNODE_MODULE_VERSION 1."), { code: 'ERR_DLOPEN_FAILED' })
}`

const folder = mkdtempSync(join(tmpdir(), 'harrier-dlopen-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** The environment of a machine on which a binary does not load. */
function without(name: string, binary: RegExp): NodeJS.ProcessEnv {
  const hook = join(folder, `${name}.cjs`)
  writeFileSync(hook, otherNode(binary))
  return { NODE_OPTIONS: `--require=${hook}`, HARRIER_BROKERS: '127.0.0.1:9', HARRIER_REGISTRY: 'http://127.0.0.1:9' }
}

describe('the native Kafka client that does not load', () => {
  const env = without('native', /harrier-kafka/)

  it('is a finding of the doctor, and ends an engine before it starts, both with what to do', async () => {
    const [doctor, run] = await Promise.all([harrier(['doctor'], env), harrier(['run'], env)])
    assert.match(doctor.stdout, /missing +native Kafka client +does not load: it was compiled for another version of Node\.js\n.*npm run build:native/)
    assert.equal(doctor.code, 1)
    assert.match(run.stderr, /harrier: the native Kafka client does not load: .*\n {2}what to do: .*npm run build:native.*\[PREREQUISITE_MISSING\]\n$/)
    assert.equal(run.code, 1)
  })
})

describe('node-rdkafka of another version of Node.js', () => {
  const env = without('rdkafka', /librdkafka/)

  it('is a finding of the doctor, which says what to do', async () => {
    const { stdout, code } = await harrier(['doctor'], env)
    assert.match(stdout, /missing +node-rdkafka +does not load: it was compiled for another version of Node\.js\n.*npm rebuild node-rdkafka/)
    assert.equal(code, 1)
  })

  it('ends a command that needs it with the cause, and leaves those alone that need no broker', async () => {
    const [tail, check] = await Promise.all([harrier(['tail', 'scored'], env), harrier(['topology', 'check', 'card-fraud'], env)])
    assert.match(tail.stderr, /^harrier: node-rdkafka was compiled for another version of Node\.js than this one, v\d+.*\n {2}what to do: npm rebuild node-rdkafka;.*\[PREREQUISITE_MISSING\]\n$/)
    assert.equal(tail.code, 1)
    assert.equal(check.code, 0, check.stderr)
  })
})
