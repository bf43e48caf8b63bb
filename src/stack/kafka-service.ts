import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { uniqueSuffix } from '../base/prng.js'
import { fenceKilledBroker } from './fence-killed-broker.js'
import { partFolder } from './library.js'
import { stackLimits } from './limits.js'
import { runProgram } from './programs.js'
import { serviceEnvironment } from './start-service.js'
import type { StateFolder } from './state-folder.js'

export interface BrokerPorts {
  kafka: number
  controller: number
}

/** What a broker has besides: for the tests of secured clusters. */
export interface BrokerExtras {
  /** Further listeners on loopback, by name. The first, PLAINTEXT, stays that of the brokers among each other. */
  listeners?: Readonly<Record<string, { port: number; protocol: 'SSL' | 'SASL_SSL' | 'SASL_PLAINTEXT' }>>
  settings?: Readonly<Record<string, string | number>>
  /** For the log folder's first format, for example `--add-scram`. */
  formatArguments?: readonly string[]
  jvmOptions?: readonly string[]
}

/** One KRaft node that is broker and controller, on loopback. */
function serverProperties(folder: StateFolder, ports: BrokerPorts, extras: BrokerExtras): string {
  const further = Object.entries(extras.listeners ?? {}).map(([name, { port, protocol }]) => ({ address: `${name}://127.0.0.1:${port}`, protocol: `${name}:${protocol}` }))
  const settings: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    listeners: [`PLAINTEXT://127.0.0.1:${ports.kafka}`, `CONTROLLER://127.0.0.1:${ports.controller}`, ...further.map(({ address }) => address)].join(','),
    'advertised.listeners': [`PLAINTEXT://127.0.0.1:${ports.kafka}`, ...further.map(({ address }) => address)].join(','),
    'listener.security.protocol.map': ['PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT', ...further.map(({ protocol }) => protocol)].join(','),
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(folder.kafkaData, 'data'),
    // One broker: internal topics have one copy, and few partitions so that the first group and transaction start at once.
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 8,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 8,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    // After a crash the controller waits for the session of the broker that died: with the default 9 s a restart takes 12 s.
    'broker.session.timeout.ms': 3_000,
    'broker.heartbeat.interval.ms': 500,
    // A mistyped topic is an error here as on a careful cluster.
    'auto.create.topics.enable': 'false',
    // Replay reads history again: nothing expires by age.
    'log.retention.ms': -1,
    // Room for the large records that must come through the dead-letter topic.
    'message.max.bytes': 8 * 1024 * 1024,
    // The default takes 128 MB of the heap.
    'log.cleaner.dedupe.buffer.size': 32 * 1024 * 1024,
    ...extras.settings,
  }
  return Object.entries(settings).map(([name, value]) => `${name}=${escapeValue(String(value))}\n`).join('')
}

/** A properties file is Latin-1 with escapes. */
function escapeValue(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/[^\x20-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const loggingOptions = [
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
  '-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
]

/** The broker's command line. Writes its configuration, formats its log folder the first time, and clears up after a crash. */
export async function brokerCommand(java: string, folder: StateFolder, ports: BrokerPorts, extras: BrokerExtras = {}, clock: Clock = systemClock): Promise<string[]> {
  mkdirSync(folder.kafkaData, { recursive: true })
  const config = join(folder.kafkaData, 'server.properties')
  writeFileSync(config, serverProperties(folder, ports, extras))
  const classPath = join(partFolder(folder.lib, 'kafka'), '*')
  if (!existsSync(join(folder.kafkaData, 'data', 'meta.properties'))) {
    const clusterId = createHash('sha256').update(uniqueSuffix()).digest().subarray(0, 16).toString('base64url').replace(/^-/, 'A')
    const format = ['-XX:TieredStopAtLevel=1', '-cp', classPath, 'kafka.tools.StorageTool', 'format', '-c', config, '-t', clusterId, ...(extras.formatArguments ?? [])]
    const ran = await runProgram(java, format, { limitMs: stackLimits.formatMsMax, env: serviceEnvironment() })
    if (ran.code !== 0) throw new HarrierError('STACK_FAILED', `the broker's log folder cannot be formatted:\n${ran.stdout}${ran.stderr}`)
  }
  await fenceKilledBroker(java, { dataFolder: join(folder.kafkaData, 'data'), folder: folder.kafkaData, controllerPort: ports.controller, classPath, clock })
  const memory = ['-Xms512m', '-Xmx512m', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=100', '-XX:MaxTenuringThreshold=1', '-XX:+ExitOnOutOfMemoryError']
  return [java, ...memory, ...(extras.jvmOptions ?? []), '-Djava.awt.headless=true', ...loggingOptions, '-cp', classPath, 'kafka.Kafka', config]
}
