import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { stackVersions } from '../../src/stack/limits.js'
import { writeRecord, type StackRecord } from '../../src/stack/stack-record.js'
import { fakeProgram, harrier, temporaryStateDir } from './stack-fixture.js'

/** Docker's engine itself is tried where there is one; here, what is asked of it. */
describe('the stack in Docker', () => {
  let stateDir: string
  let env: NodeJS.ProcessEnv

  before(() => {
    stateDir = temporaryStateDir({ withLibrary: false })
    const script = [
      `echo "$HARRIER_KAFKA_PORT $HARRIER_REGISTRY_PORT $*" >> ${join(stateDir, 'asked')}`,
      'case "$*" in',
      '  "version --format "*) echo 28.0.0;;',
      '  *" up "*) echo "pull access denied" >&2; exit 1;;',
      'esac',
    ]
    env = { HARRIER_STATE_DIR: stateDir, HARRIER_BROKERS: '', HARRIER_REGISTRY: '', PATH: fakeProgram(stateDir, 'docker', script.join('\n')) }
  })

  after(() => rmSync(stateDir, { recursive: true, force: true }))

  const asked = (): string => readFileSync(join(stateDir, 'asked'), 'utf8')

  it('is chosen where the engine answers, with ports that are free, and an error of the engine is shown', async () => {
    const { code, stderr } = await harrier(['stack', 'up'], env)
    assert.equal(code, 1)
    assert.match(stderr, /docker compose up failed:\n.*pull access denied/)
    assert.match(stderr, /stack up --with java/)
    assert.match(asked(), /^\d{5} \d{5} compose --project-name harrier-[0-9a-f]{8} --file \S+docker-compose\.yml up --detach --remove-orphans$/m)
  })

  it('goes down by compose, with its volumes when purged', async () => {
    const record: StackRecord = { format: 1, mode: 'docker', versions: { ...stackVersions }, ports: { kafka: 1, controller: 2, registry: 3 }, processes: {} }
    writeRecord(join(stateDir, 'stack.json'), record)
    assert.equal((await harrier(['stack', 'down'], env)).code, 0)
    assert.match(asked(), /^1 3 compose .* down --remove-orphans$/m)
    assert.equal((await harrier(['stack', 'down', '--purge'], env)).code, 0)
    assert.match(asked(), /^1 3 compose .* down --remove-orphans --volumes$/m)
  })

  it('runs the same versions as the one without Docker, with ports on loopback only', () => {
    const file = fileURLToPath(new URL('../../../docker-compose.yml', import.meta.url))
    const { services } = parse(readFileSync(file, 'utf8')) as { services: Record<string, { image: string; ports: string[] }> }
    assert.equal(services.kafka!.image, `apache/kafka:${stackVersions.kafka}`)
    assert.equal(services.registry!.image, `apicurio/apicurio-registry-kafkasql:${stackVersions.registry}`)
    for (const { ports } of Object.values(services)) for (const port of ports) assert.match(port, /^127\.0\.0\.1:/)
    for (const [name, version] of Object.entries(stackVersions)) {
      const pom = readFileSync(fileURLToPath(new URL(`../../../stack/${name}/pom.xml`, import.meta.url)), 'utf8')
      assert.ok(pom.includes(`<version>${version}</version>`), `stack/${name}/pom.xml`)
    }
  })
})
