import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LocalStack } from '../../src/stack/local-stack.js'
import { findDocker } from '../../src/stack/programs.js'

/** A real broker (and registry) of one test file, on ports of its own; gone when the test process is, however it ends. */
export interface TestStack {
  brokers: string
  /** Base of the Confluent API; empty with `registry: false`. */
  registryUrl: string
  mode: 'docker' | 'java'
  stop(): Promise<void>
  /** SIGKILL. */
  killBroker(): Promise<void>
  /** Starts the broker again on the same port and data; returns when it answers (about 6 s after a kill). */
  startBroker(): Promise<void>
}

export interface TestStackOptions {
  /** false: broker only, which starts faster. */
  registry?: boolean
}

/**
 * In Docker (testcontainers) where its engine answers, else as Java processes; HARRIER_TEST_STACK=java insists on the
 * latter. The fetched programs are shared with the user's stack; data live in a folder of their own.
 */
export async function startTestStack(options: TestStackOptions = {}): Promise<TestStack> {
  const registry = options.registry ?? true
  if (process.env.HARRIER_TEST_STACK !== 'java' && (await findDocker()).state === 'answers') {
    // Testcontainers loads only where there is an engine for it.
    return (await import('./docker-test-stack.js')).startDockerTestStack(registry)
  }
  const stateDir = mkdtempSync(join(tmpdir(), 'harrier-test-'))
  const stack = new LocalStack({ stateDir, ephemeral: true, registry })
  try {
    const { brokers, registryUrl } = await stack.up((text, kind) => {
      if (text.includes('fetch') || kind === 'tick') process.stderr.write(`${text}\n`)
    })
    return {
      brokers,
      registryUrl: registry ? registryUrl : '',
      mode: 'java',
      stop: async () => void (await stack.down()),
      killBroker: () => stack.killBroker(),
      startBroker: () => stack.startBroker(),
    }
  } catch (error) {
    await stack.down()
    throw error
  }
}
