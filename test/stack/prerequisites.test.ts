import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fetchLibrary, isFetched, partFolder } from '../../src/stack/library.js'
import { LocalStack } from '../../src/stack/local-stack.js'
import { findJava } from '../../src/stack/programs.js'
import { fakeProgram, harrier, temporaryStateDir } from './stack-fixture.js'

describe('what the local stack needs', () => {
  let stateDir: string
  let env: NodeJS.ProcessEnv
  const path = process.env.PATH

  before(() => {
    stateDir = temporaryStateDir({ withLibrary: false })
    env = { HARRIER_STATE_DIR: stateDir, HARRIER_BROKERS: '', HARRIER_REGISTRY: '', JAVA_HOME: '' }
  })

  after(() => {
    process.env.PATH = path
    rmSync(stateDir, { recursive: true, force: true })
  })

  it('names the package that brings Java, and the ways without it', async () => {
    const { code, stderr } = await harrier(['stack', 'up'], { ...env, PATH: '/nonexistent' })
    assert.equal(code, 1)
    assert.match(stderr, /openjdk-17-jre-headless/)
    assert.match(stderr, /Docker/)
    assert.match(stderr, /--brokers/)
    assert.match(stderr, /PREREQUISITE_MISSING/)
  })

  it('refuses a Java that is too old for the broker', async () => {
    const bin = fakeProgram(join(stateDir, 'old'), 'java', `echo 'openjdk version "11.0.2"' >&2`)
    const { stderr } = await harrier(['stack', 'up'], { ...env, PATH: bin })
    assert.match(stderr, /needs Java 17 or later; .* is 11\.0\.2/)
  })

  it('names the package that brings Maven', async () => {
    const java = await findJava()
    assert.ok(java)
    const bin = join(stateDir, 'java-only')
    mkdirSync(bin)
    symlinkSync(java.path, join(bin, 'java'))
    const { code, stderr } = await harrier(['stack', 'up'], { ...env, PATH: bin })
    assert.equal(code, 1)
    assert.match(stderr, /apt-get install maven/)
  })

  it('fetches each part once and leaves nothing half when Maven fails', async () => {
    const lib = join(stateDir, 'fetched')
    process.env.PATH = `${fakeProgram(join(stateDir, 'failing'), 'mvn', 'case "$*" in *--version*) echo Apache Maven 3.9.0;; *) echo no such host; exit 1;; esac')}:/bin:/usr/bin`
    await assert.rejects(fetchLibrary(lib, ['kafka'], () => undefined), { code: 'STACK_FAILED', message: /no such host/ })
    assert.equal(isFetched(lib, 'kafka'), false)

    const script = [
      'case "$*" in *--version*) echo Apache Maven 3.9.0; exit;; esac',
      'for word; do case "$word" in -DoutputDirectory=*) out="${word#*=}";; esac; done',
      'mkdir -p "$out"; echo jar > "$out/some.jar"',
    ]
    process.env.PATH = `${fakeProgram(join(stateDir, 'working'), 'mvn', script.join('\n'))}:/bin:/usr/bin`
    const steps: string[] = []
    await Promise.all([1, 2].map(() => fetchLibrary(lib, ['kafka', 'registry'], (text, kind) => kind === 'step' && steps.push(text))))
    assert.equal(steps.filter((text) => text.startsWith('fetched ')).length, 2, steps.join('\n'))
    assert.deepEqual(readdirSync(partFolder(lib, 'kafka')), ['some.jar'])

    process.env.PATH = '/nonexistent'
    await fetchLibrary(lib, ['kafka', 'registry'], () => assert.fail('nothing is left to fetch'))
    process.env.PATH = path
  })

  it('shows the end of the log when a service ends at its start', async () => {
    const broken = join(stateDir, 'broken')
    const lib = join(broken, 'lib')
    for (const name of ['kafka', 'registry'] as const) mkdirSync(partFolder(lib, name), { recursive: true })
    const stack = new LocalStack({ stateDir: broken, libDir: lib, mode: 'java' })
    mkdirSync(join(stack.folder.kafkaData, 'data'), { recursive: true })
    await assert.rejects(stack.up(), { code: 'STACK_FAILED', message: /kafka\.tools\.StorageTool|Unable to access jarfile/ })
    assert.equal((await stack.status()).state, 'down')
    assert.equal(existsSync(stack.folder.lock), false)
  })
})
