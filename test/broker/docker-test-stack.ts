import { GenericContainer, getContainerRuntimeClient, Wait, type StartedTestContainer } from 'testcontainers'
import { systemClock } from '../../src/base/clock.js'
import { uniqueSuffix } from '../../src/base/prng.js'
import { askBroker } from '../../src/stack/health.js'
import { stackLimits, stackVersions } from '../../src/stack/limits.js'
import { freePort } from '../../src/stack/ports.js'
import type { TestStack } from './test-stack.js'

const brokerPort = 9092
const registryPort = 8080

/** The same versions in containers. Testcontainers' reaper removes them when the test process dies. */
export async function startDockerTestStack(registry: boolean): Promise<TestStack> {
  const runtime = await getContainerRuntimeClient()
  const { host: runtimeHost } = runtime.info.containerRuntime
  const host = runtimeHost === 'localhost' ? '127.0.0.1' : runtimeHost
  // The port is fixed from outside, because the broker must tell its clients where it is, and keeps it over a restart.
  const port = await freePort(20_000 + (parseInt(uniqueSuffix(), 16) % 12_000))
  const brokers = `${host}:${port}`
  const starting: Promise<StartedTestContainer>[] = [startBrokerContainer(brokers, port)]
  if (registry) starting.push(startRegistryContainer())
  const outcomes = await Promise.allSettled(starting)
  const containers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const stop = async (): Promise<void> => void (await Promise.all(containers.map((container) => container.stop({ timeout: 0 }))))
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed) {
    await stop()
    throw failed.reason
  }
  const [broker, registryContainer] = containers
  await untilBrokerAnswers(brokers)
  return {
    brokers,
    registryUrl: registryContainer ? `http://${host}:${registryContainer.getMappedPort(registryPort)}/apis/ccompat/v7` : '',
    mode: 'docker',
    stop,
    killBroker: async () => void (await runtime.container.getById(broker!.getId()).kill({ signal: 'SIGKILL' })),
    startBroker: async () => {
      await runtime.container.getById(broker!.getId()).start()
      await untilBrokerAnswers(brokers)
    },
  }
}

function startBrokerContainer(brokers: string, port: number): Promise<StartedTestContainer> {
  return new GenericContainer(`apache/kafka:${stackVersions.kafka}`)
    .withExposedPorts({ container: brokerPort, host: port })
    .withEnvironment({
      KAFKA_PROCESS_ROLES: 'broker,controller',
      KAFKA_NODE_ID: '1',
      KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
      KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
      KAFKA_LISTENERS: `PLAINTEXT://:${brokerPort},CONTROLLER://:9093`,
      KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://${brokers}`,
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
      KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: '8',
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
      KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS: '8',
      KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR: '1',
      KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR: '1',
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
      KAFKA_BROKER_SESSION_TIMEOUT_MS: '3000',
      KAFKA_BROKER_HEARTBEAT_INTERVAL_MS: '500',
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
      KAFKA_LOG_RETENTION_MS: '-1',
      KAFKA_MESSAGE_MAX_BYTES: String(8 * 1024 * 1024),
      KAFKA_HEAP_OPTS: '-Xms256m -Xmx512m',
    })
    .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
    .withStartupTimeout(stackLimits.brokerStartMsMax)
    .start()
}

function startRegistryContainer(): Promise<StartedTestContainer> {
  return new GenericContainer(`apicurio/apicurio-registry-mem:${stackVersions.registry}`)
    .withExposedPorts(registryPort)
    .withEnvironment({ LOG_LEVEL: 'WARN', REGISTRY_LOG_LEVEL: 'WARN' })
    .withWaitStrategy(Wait.forHttp('/apis/ccompat/v7/subjects', registryPort))
    .withStartupTimeout(stackLimits.registryStartMsMax)
    .start()
}

async function untilBrokerAnswers(brokers: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + stackLimits.brokerStartMsMax
  for (;;) {
    const answer = await askBroker(brokers)
    if (answer.ok) return
    if (systemClock.monotonicMs() > deadlineMs) throw new Error(`the broker in Docker did not answer: ${answer.detail}`)
    await systemClock.sleep(stackLimits.pollMs)
  }
}
