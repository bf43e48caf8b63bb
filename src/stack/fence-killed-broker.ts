import { spawn } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Clock } from '../base/clock.js'
import { stackLimits } from './limits.js'
import { serviceEnvironment } from './start-service.js'

/** Kafka leaves this file in its log folder when it ends in order, and takes it away when it starts. */
const cleanMark = '.kafka_cleanshutdown'
const sessionMs = 300

const logging = [
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.org.apache.kafka.controller.ReplicationControlManager=info',
  '-Dorg.slf4j.simpleLogger.log.org.apache.kafka.controller.QuorumController=info',
]
const active = /Becoming the active controller/
const fenced = /handleBrokerFenced/

export interface FenceOptions {
  /** Where broker and controller keep their logs. */
  readonly dataFolder: string
  /** For the configuration of the run. */
  readonly folder: string
  readonly controllerPort: number
  readonly classPath: string
  readonly clock: Clock
}

/**
 * After a crash of a broker that is its own controller, lets the controller alone run for a moment, so that it notices the
 * death and takes the partitions from the dead broker before that starts again.
 *
 * Without it the broker may load its transactions as if it still led everything, and lose the leadership while it sends
 * the markers of those that were being committed. Kafka (4.3, KRaftMetadataCache.getPartitionLeaderEndpoint) takes a
 * partition without a leader for a deleted one and passes its marker over: outputs stay open for good, or are
 * committed without their offsets. A cluster of several brokers is in no such danger: another one leads meanwhile.
 *
 * Returns whether there was something to fence. Best effort: whatever comes of it, the broker can be started.
 */
export async function fenceKilledBroker(java: string, { dataFolder, folder, controllerPort, classPath, clock }: FenceOptions): Promise<boolean> {
  if (!existsSync(join(dataFolder, 'meta.properties')) || existsSync(join(dataFolder, cleanMark)) || !hasTopics(dataFolder)) return false
  const config = join(folder, 'controller.properties')
  const settings = {
    'process.roles': 'controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `CONTROLLER://127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': dataFolder,
    'broker.session.timeout.ms': sessionMs,
    'broker.heartbeat.interval.ms': sessionMs / 3,
  }
  writeFileSync(config, Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join(''))
  const child = spawn(java, ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', ...logging, '-cp', classPath, 'kafka.Kafka', config], { stdio: ['ignore', 'pipe', 'pipe'], env: serviceEnvironment() })
  const exited = new Promise<void>((resolve) => {
    child.on('exit', () => resolve())
    child.on('error', () => resolve())
  })
  const waits = new AbortController()
  const after = (ms: number): Promise<boolean> => clock.sleep(ms, waits.signal).then(() => false)
  try {
    const noticed = new Promise<boolean>((resolve) => {
      const onLine = (line: string): void => {
        if (fenced.test(line)) resolve(true)
        // A broker that died before it was let in has nothing to be taken from it.
        else if (active.test(line)) void after(sessionMs * 10).then(resolve, () => undefined)
      }
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine)
    })
    const done = await Promise.race([noticed, exited.then(() => false), after(stackLimits.fenceMsMax)])
    // In order: what it has decided is written by then.
    child.kill('SIGTERM')
    await Promise.race([exited, after(stackLimits.stopGraceMsMax)])
    return done
  } finally {
    waits.abort()
    child.kill('SIGKILL')
    await exited
  }
}

/** A broker that died before it had any partition leaves nothing to be lost. */
function hasTopics(dataFolder: string): boolean {
  return readdirSync(dataFolder).some((name) => name.startsWith('__transaction_state-'))
}
