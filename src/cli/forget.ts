import Kafka from 'node-rdkafka'
import type { Command } from 'commander'
import { HarrierError, messageOf } from '../base/errors.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { controlHeader, forgetControl } from '../topology/control-record.js'
import { loadTopology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'

const flushMsMax = 10_000

interface ForgetOptions extends ConnectionOptions {
  topology: string
  namespace?: string
}

/** `harrier forget`: erases what is kept of one entity. */
export function register(program: Command): void {
  const command = program
    .command('forget')
    .description('erase the state of an entity (a control record in the input topic, ordered among its events)')
    .argument('<entity>', 'the key of its records, for example a customer id')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--namespace <name>', 'prefix of topics and ids')
  addConnectionOptions(command).action(forget)
}

async function forget(entity: string, options: ForgetOptions): Promise<void> {
  const { brokers } = await resolveConnections(options)
  const topic = topologyNames(loadTopology(options.topology), options.namespace).input
  const producer = new Kafka.HighLevelProducer({ 'metadata.broker.list': brokers, 'enable.idempotence': true, 'allow.auto.create.topics': false }, { partitioner: 'murmur2_random' })
  await new Promise<void>((resolve, reject) => {
    producer.connect({ timeout: flushMsMax }, (error) => (error ? reject(new HarrierError('BROKER_UNAVAILABLE', `no broker answers at ${brokers}: ${error.message}`)) : resolve()))
  })
  try {
    const offset = await new Promise<unknown>((resolve, reject) => {
      const headers = [{ [controlHeader]: forgetControl }]
      producer.produce(topic, null, null, Buffer.from(entity), null, headers, (error: unknown, at: unknown) =>
        error ? reject(new HarrierError('TOPIC_MISSING', `${topic} takes no record: ${messageOf(error)}`)) : resolve(at),
      )
    })
    process.stdout.write(`asked for on ${topic}, offset ${String(offset)}: state is cleared when the engine reaches it; records already on the topics stay\n`)
  } finally {
    await new Promise<void>((resolve) => producer.disconnect(() => resolve()))
  }
}
