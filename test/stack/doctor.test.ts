import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { supportsNode, type Finding } from '../../src/stack/doctor.js'
import { harrier, temporaryStateDir } from './stack-fixture.js'

describe('harrier doctor', () => {
  let stateDir: string
  let env: NodeJS.ProcessEnv

  before(() => {
    stateDir = temporaryStateDir({ withLibrary: false })
    env = { HARRIER_STATE_DIR: stateDir, HARRIER_BROKERS: '', HARRIER_REGISTRY: '', JAVA_HOME: '' }
  })

  after(() => rmSync(stateDir, { recursive: true, force: true }))

  const examined = async (args: string[], more: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; ok: boolean; by: Map<string, Finding> }> => {
    const { code, stdout } = await harrier(['doctor', '--json', ...args], { ...env, ...more })
    const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] }
    return { code, ok, by: new Map(findings.map((finding) => [finding.name.trim(), finding])) }
  }

  it('finds the native libraries and the providers that they bring', async () => {
    const { by } = await examined([])
    assert.match(by.get('native Kafka client')!.found, /loads, librdkafka \d/)
    assert.match(by.get('secured clusters')!.found, /TLS|PLAIN/)
    assert.equal(by.get('onnxruntime-node')!.state, 'ok')
    assert.equal(by.get('cpu')!.state, 'ok')
    assert.match(by.get('state folder')!.found, new RegExp(stateDir))
  })

  it('fails when neither Java nor Docker nor brokers are there, with a remedy for each', async () => {
    const { code, ok, by } = await examined([], { PATH: '/nonexistent' })
    assert.equal(code, 1)
    assert.equal(ok, false)
    for (const name of ['Java', 'Maven']) {
      assert.equal(by.get(name)!.state, 'missing')
      assert.match(by.get(name)!.remedy!, /apt-get install/)
    }
    assert.equal(by.get('C++ toolchain')!.state, 'optional', 'all is compiled already')
  })

  it('does not want Java where brokers are configured, but that they answer', async () => {
    const { by } = await examined(['--brokers', '127.0.0.1:1', '--registry', 'http://127.0.0.1:1'], { PATH: '/nonexistent' })
    assert.equal(by.get('Java')!.state, 'optional')
    assert.equal(by.get('configured brokers')!.state, 'missing')
    assert.equal(by.get('configured registry')!.state, 'missing')
  })

  it('prints columns that line up', async () => {
    const { stdout } = await harrier(['doctor'], env)
    const rows = stdout.split('\n').filter((line) => /^ {2}(ok|missing|optional) /.test(line))
    assert.ok(rows.length > 10)
    const width = Math.max(...rows.map((row) => row.slice(12).search(/ {2}(?! )(?=\S)/)))
    for (const row of rows) assert.match(row.slice(12 + width, 12 + width + 3), /^ {2}\S/, row)
  })

  it('knows the oldest Node.js that will do', () => {
    assert.deepEqual(['18.20.0', '20.8.1', '20.9.0', '22.0.0'].map(supportsNode), [false, false, true, true])
  })
})
