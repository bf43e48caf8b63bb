import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { systemClock, withTimeout, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { askBroker, askRegistry } from './health.js'
import { stackLimits, stackVersions } from './limits.js'
import { freePort, preferredPorts } from './ports.js'
import type { OnProgress } from './progress.js'
import { brokersOf, readRecord, registryUrlOf, writeRecord, type StackRecord } from './stack-record.js'
import type { StateFolder } from './state-folder.js'

const composeFile = fileURLToPath(new URL('../../../docker-compose.yml', import.meta.url))

/** Broker and registry as a compose project of docker-compose.yml; data live in the project's volumes. */
export class DockerStack {
  readonly #folder: StateFolder
  readonly #clock: Clock
  readonly #project: string

  constructor(folder: StateFolder, clock: Clock = systemClock) {
    this.#folder = folder
    this.#clock = clock
    this.#project = `harrier-${createHash('sha256').update(folder.root).digest('hex').slice(0, 8)}`
  }

  /** Returns whether anything had to be started. */
  async up(onProgress: OnProgress): Promise<boolean> {
    const before = readRecord(this.#folder.record)
    if (before && (await this.#answers(before))) return false
    const running = await this.#compose(['ps', '--quiet'], before, noLines)
    // Containers of an earlier up hold the ports that they were given.
    const ports = before && running.trim() !== '' ? before.ports : await portsFor(before)
    const record: StackRecord = { format: 1, mode: 'docker', versions: { ...stackVersions }, ports, processes: {} }
    writeRecord(this.#folder.record, record)
    onProgress(`starting the broker and the registry in Docker (images are pulled once)`, 'step')
    await this.#compose(['up', '--detach', '--remove-orphans'], record, (line) => onProgress(`  ${line}`, 'tick'))
    await this.#waitUntilAnswers(record)
    return true
  }

  /** Returns whether anything was running. */
  async down(purge: boolean): Promise<boolean> {
    const record = readRecord(this.#folder.record)
    const running = await this.#compose(['ps', '--quiet'], record, noLines)
    await this.#compose(['down', '--remove-orphans', ...(purge ? ['--volumes'] : [])], record, noLines)
    return running.trim() !== ''
  }

  async #answers(record: StackRecord): Promise<boolean> {
    const answers = await Promise.all([askBroker(brokersOf(record)), askRegistry(registryUrlOf(record))])
    return answers.every((answer) => answer.ok)
  }

  async #waitUntilAnswers(record: StackRecord): Promise<void> {
    const limitMs = stackLimits.brokerStartMsMax + stackLimits.registryStartMsMax
    const deadlineMs = this.#clock.monotonicMs() + limitMs
    while (!(await this.#answers(record))) {
      if (this.#clock.monotonicMs() > deadlineMs) {
        const logs = await this.#compose(['logs', '--no-color', '--tail', String(stackLimits.logTailLines)], record, noLines)
        throw new HarrierError('STACK_FAILED', `the containers did not answer within ${limitMs} ms; the end of their logs:\n${logs}`)
      }
      await this.#clock.sleep(stackLimits.pollMs)
    }
  }

  /** Runs `docker compose`; its standard output comes back, each line of its standard error goes to `onLine`. */
  async #compose(args: string[], record: StackRecord | undefined, onLine: (line: string) => void): Promise<string> {
    const ports = record?.ports ?? preferredPorts
    const env = { ...process.env, HARRIER_KAFKA_PORT: String(ports.kafka), HARRIER_REGISTRY_PORT: String(ports.registry) }
    const child = spawn('docker', ['compose', '--project-name', this.#project, '--file', composeFile, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let errors = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
      const line = chunk.toString().trim().split('\n').at(-1)
      if (line) onLine(line)
    })
    const ended = new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
    const code = await withTimeout(ended, stackLimits.composeMsMax, () => {
      child.kill('SIGKILL')
      return new HarrierError('STACK_FAILED', `docker compose ${args[0]} did not end within ${stackLimits.composeMsMax} ms`)
    })
    if (code === 0) return out
    const tail = errors.trim().split('\n').slice(-stackLimits.logTailLines).join('\n')
    throw new HarrierError('STACK_FAILED', `docker compose ${args[0]} failed:\n${tail}`, {
      remedy: '`harrier doctor` shows whether Docker can be used; `harrier stack up --with java` does without it',
    })
  }
}

const noLines = (): void => undefined

async function portsFor(before: StackRecord | undefined): Promise<StackRecord['ports']> {
  const wanted = before?.ports ?? preferredPorts
  const kafka = await freePort(wanted.kafka)
  return { kafka, controller: wanted.controller, registry: await freePort(wanted.registry, [kafka]) }
}
