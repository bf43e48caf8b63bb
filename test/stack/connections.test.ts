import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { configuredConnections, connectionArguments, resolveConnections } from '../../src/stack/connections.js'
import { defaultStateDir } from '../../src/stack/state-folder.js'
import { harrier, temporaryStateDir } from './stack-fixture.js'

describe('connections', () => {
  const saved = { ...process.env }
  let stateDir: string

  before(() => {
    stateDir = temporaryStateDir({ withLibrary: false })
    process.env.HARRIER_STATE_DIR = stateDir
    delete process.env.HARRIER_BROKERS
    delete process.env.HARRIER_REGISTRY
  })

  after(() => {
    process.env = saved
    rmSync(stateDir, { recursive: true, force: true })
  })

  it('come from an option before the environment', () => {
    const env = { HARRIER_BROKERS: 'a:1, b:2', HARRIER_REGISTRY: 'http://r:3/' }
    assert.deepEqual(configuredConnections({}, env), { brokers: 'a:1,b:2', registryUrl: 'http://r:3', source: 'configured' })
    assert.equal(configuredConnections({ brokers: 'c:4' }, env)?.brokers, 'c:4')
    assert.equal(configuredConnections({}, {}), undefined)
  })

  it('are refused with what to write when half of them or nonsense is configured', () => {
    const refused = (options: { brokers?: string; registry?: string }, message: RegExp): void =>
      assert.throws(() => configuredConnections(options, {}), { code: 'CONFIG_INVALID', message })
    refused({ brokers: 'a:1' }, /no registry/)
    refused({ registry: 'http://r:3' }, /no brokers/)
    refused({ brokers: 'a', registry: 'http://r:3' }, /"a" is not the address of a broker/)
    refused({ brokers: 'a:1', registry: 'r:3' }, /"r:3" is not the address of a registry/)
  })

  it('come from a connection file as a whole, by option or environment', () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-connections-'))
    const file = join(folder, 'c.yaml')
    writeFileSync(file, 'brokers: secure:9093\ntls: {}\nregistry: { url: "https://registry" }\n')
    try {
      const env = { HARRIER_CONNECTION: file, HARRIER_BROKERS: 'a:1', HARRIER_REGISTRY: 'http://r' }
      const byFile = configuredConnections({}, env)!
      assert.deepEqual([byFile.brokers, byFile.registryUrl, byFile.file], ['secure:9093', 'https://registry', file])
      assert.deepEqual(connectionArguments(byFile), ['--connection', file])
      const named = configuredConnections({ brokers: 'b:2', registry: 'http://s' }, env)!
      assert.deepEqual([named.brokers, named.security], ['b:2', undefined], 'the credentials of the file do not go to other brokers')
      assert.deepEqual(connectionArguments(named), ['--brokers', 'b:2', '--registry', 'http://s'])
      assert.throws(() => configuredConnections({ connection: file, brokers: 'b:2' }, {}), { code: 'USAGE', message: /exclude each other/ })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('refuse credentials in the URL of a registry, which process lists would show', () => {
    const options = { brokers: 'a:1', registry: 'http://ada:s3cret@r' }
    assert.throws(() => configuredConnections(options, {}), (error: Error) => /has credentials in it/.test(error.message) && !error.message.includes('s3cret'))
  })

  it('name the command that starts the stack when nothing is configured and nothing is up', async () => {
    await assert.rejects(resolveConnections(), { code: 'BROKER_UNAVAILABLE', remedy: /harrier stack up/ })
  })

  it('that are configured are asked, and nothing is started', async () => {
    const { code, stderr } = await harrier(['stack', 'up', '--brokers', '127.0.0.1:1', '--registry', 'http://127.0.0.1:1'], {})
    assert.equal(code, 1)
    assert.match(stderr, /configured broker 127\.0\.0\.1:1 does not answer/)
  })

  it('keep their state where the environment says, else in the home of the user', () => {
    assert.equal(defaultStateDir({ HARRIER_STATE_DIR: '/s', XDG_STATE_HOME: '/x' }), '/s')
    assert.equal(defaultStateDir({ XDG_STATE_HOME: '/x' }), '/x/harrier')
    assert.match(defaultStateDir({}), /\.local\/state\/harrier$/)
  })
})
