import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { LocalStack } from '../../src/stack/local-stack.js'
import { isAlive, processIdentity, signal } from '../../src/stack/owned-process.js'
import { isPortFree } from '../../src/stack/ports.js'
import { readRecord, writeRecord, type StackRecord } from '../../src/stack/stack-record.js'
import { harrier, listeningAddresses, processesNaming, temporaryStateDir } from './stack-fixture.js'

const onLinux = existsSync('/proc/net/tcp') ? {} : { skip: 'needs /proc' }

describe('the local stack', () => {
  let stateDir: string
  let stack: LocalStack
  let env: NodeJS.ProcessEnv

  before(() => {
    stateDir = temporaryStateDir({ withLibrary: true })
    stack = new LocalStack({ stateDir, mode: 'java' })
    env = { HARRIER_STATE_DIR: stateDir, HARRIER_BROKERS: '', HARRIER_REGISTRY: '' }
  })

  after(async () => {
    await stack.down()
    rmSync(stateDir, { recursive: true, force: true })
  })

  const record = (): StackRecord => readRecord(stack.folder.record)!

  it('comes up once when two ask at the same time', async () => {
    const results = await Promise.all([stack.up(), new LocalStack({ stateDir, mode: 'java' }).up()])
    assert.deepEqual(results.map((result) => result.changed).sort(), [false, true])
    assert.deepEqual(results.map((result) => result.state), ['up', 'up'])
    assert.equal(results[0].brokers, results[1].brokers)
  })

  it('says so when a second up finds nothing to do', async () => {
    const pids = record().processes
    const { code, stdout } = await harrier(['stack', 'up'], env)
    assert.equal(code, 0)
    assert.match(stdout, /up already: nothing to do/)
    assert.deepEqual(record().processes, pids)
  })

  it('tells its state to a person and to a machine', async () => {
    const text = await harrier(['stack', 'status'], env)
    assert.equal(text.code, 0)
    assert.match(text.stdout, /the stack is up[\s\S]*broker +ok +127\.0\.0\.1:\d+[\s\S]*registry +ok +http:\/\/127\.0\.0\.1:\d+\/apis\/ccompat\/v7/)
    const json = JSON.parse((await harrier(['stack', 'status', '--json'], env)).stdout) as { state: string; services: unknown[] }
    assert.equal(json.state, 'up')
    assert.equal(json.services.length, 2)
  })

  it('listens on loopback only', onLinux, () => {
    const { kafka, registry } = record().processes
    const addresses = [kafka!, registry!].flatMap((owned) => listeningAddresses(owned.pid))
    assert.ok(addresses.length >= 3, addresses.join(' '))
    for (const address of addresses) assert.match(address, /^(0100007F|0000000000000000FFFF00000100007F|00000000000000000000000001000000):/)
  })

  it('keeps topics and schemas when both are killed, and moves from a port that another has taken', async () => {
    const { brokers, registryUrl } = await stack.status()
    await createTopic(brokers, 'kept')
    const id = await registerSchema(registryUrl, 'kept-value')
    for (const owned of Object.values(record().processes)) signal(owned!, 'SIGKILL')
    const { ports } = record()
    await untilFree(ports.registry)
    const squatter = createServer().listen(ports.registry, '127.0.0.1')
    try {
      assert.equal((await stack.status()).state, 'down')
      const again = await stack.up()
      assert.equal(again.changed, true)
      assert.equal(again.brokers, brokers, 'a free port is kept')
      assert.notEqual(again.registryUrl, registryUrl)
      assert.deepEqual(await topics(again.brokers), ['kept'])
      assert.equal(await registerSchema(again.registryUrl, 'kept-value'), id)
    } finally {
      squatter.close()
    }
  })

  it('leaves no process after down, and keeps topics for the next up', async () => {
    const { code, stdout } = await harrier(['stack', 'down'], env)
    assert.equal(code, 0)
    assert.match(stdout, /the stack is down/)
    if (process.platform === 'linux') assert.deepEqual(processesNaming(stateDir), [])
    const status = await harrier(['stack', 'status'], env)
    assert.equal(status.code, 1)
    assert.match(status.stdout, /the stack is down: harrier stack up starts it/)
    assert.match((await harrier(['stack', 'down'], env)).stdout, /was not up/)
    assert.ok(readdirSync(stack.folder.kafkaData).length > 0)
  })

  it('never kills a process that has come by the number of one of ours', async () => {
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore' })
    const identity = processIdentity(stranger.pid!)!
    writeRecord(stack.folder.record, { ...record(), processes: { kafka: { pid: stranger.pid!, identity: `${identity}0` } } })
    assert.equal((await stack.status()).state, 'down')
    await stack.down()
    assert.ok(isAlive({ pid: stranger.pid!, identity }))
    stranger.kill('SIGKILL')
  })

  it('removes topics, schemas and logs with --purge, and keeps what was fetched', async () => {
    assert.equal((await harrier(['stack', 'down', '--purge'], env)).code, 0)
    assert.deepEqual(readdirSync(stateDir), ['lib'])
    assert.ok(existsSync(stack.folder.lib))
  })
})

async function createTopic(brokers: string, topic: string): Promise<void> {
  await withAdmin(brokers, (admin) => admin.createTopics({ topics: [{ topic, numPartitions: 2 }] }))
}

async function topics(brokers: string): Promise<string[]> {
  return (await withAdmin(brokers, (admin) => admin.listTopics())).filter((topic) => !topic.startsWith('__'))
}

async function withAdmin<T>(brokers: string, work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  return work(admin).finally(() => admin.disconnect())
}

async function registerSchema(registryUrl: string, subject: string): Promise<number> {
  const response = await fetch(`${registryUrl}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify({ type: 'record', name: 'Kept', fields: [{ name: 'amount', type: 'long' }] }) }),
  })
  assert.equal(response.status, 200)
  return ((await response.json()) as { id: number }).id
}

/** The kernel frees the port of a killed process a moment after the signal. */
async function untilFree(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await isPortFree(port)) return
    await systemClock.sleep(50)
  }
  assert.fail(`port ${port} is still in use`)
}
