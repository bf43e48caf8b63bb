import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { isToken } from '../privacy/token-text.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import { asHarrierError } from '../consumer/kafka-errors.js'
import { librdkafkaSecurity } from '../consumer/kafka-security.js'
import { connectClient, disconnectClient } from '../consumer/rdkafka-client.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { controlHeader, forgetControl } from '../topology/control-record.js'
import { loadTopology, stageOf } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { rdkafka } from '../consumer/rdkafka.js'

const flushMsMax = 10_000

interface ForgetOptions extends ConnectionOptions {
  topology: string
  stage?: string
  namespace?: string
}

/** `harrier forget`: erases what is kept of one entity. */
export function register(program: Command): void {
  const command = program
    .command('forget')
    .description('erase the state of an entity (a control record in the input topic, ordered among its events)')
    .argument('<entity>', 'the key of its records, for example a customer id')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--stage <name>', 'whose entity it is (default: the first stage)')
    .option('--namespace <name>', 'prefix of topics and ids')
  addConnectionOptions(command).action(forget)
}

async function forget(entity: string, options: ForgetOptions): Promise<void> {
  const { brokers, security, connectMsMax = connectMsMaxDefault } = await resolveConnections(options)
  if (isToken(entity)) throw new HarrierError('USAGE', 'the input knows the entity by its value, and not by its token', { remedy: 'give what `harrier privacy find <token>` finds' })
  const topic = topologyNames(stageOf(loadTopology(options.topology), options.stage), options.namespace).input
  const producer = new (rdkafka().HighLevelProducer)({ 'metadata.broker.list': brokers, ...librdkafkaSecurity(security), 'enable.idempotence': true, 'allow.auto.create.topics': false }, { partitioner: 'murmur2_random' })
  await connectClient(producer, { brokers, security, limitMs: connectMsMax, clock: systemClock, logger: silentLogger })
  try {
    const offset = await new Promise<unknown>((resolve, reject) => {
      const headers = [{ [controlHeader]: forgetControl }]
      producer.produce(topic, null, null, Buffer.from(entity), null, headers, (error: unknown, at: unknown) =>
        error ? reject(asHarrierError('TOPIC_MISSING', `${topic} takes no record`, error)) : resolve(at),
      )
    })
    process.stdout.write(`asked for on ${topic}, offset ${String(offset)}: state is cleared when the engine reaches it; records already on the topics stay\n`)
  } finally {
    await disconnectClient(producer, flushMsMax, systemClock, silentLogger)
  }
}
