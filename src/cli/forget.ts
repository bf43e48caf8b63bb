import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { isToken } from '../privacy/token-text.js'
import { partitionByKey, RecordColumns } from '../base/record-columns.js'
import { RecordProducer } from '../producer/record-producer.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { controlHeader, forgetControl } from '../topology/control-record.js'
import { loadTopology, stageOf } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'

const messageMsMax = 10_000
/** Longer than librdkafka tries. */
const deliveredMsMax = 15_000
const closeMsMax = 10_000

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
  const connections = await resolveConnections(options)
  if (isToken(entity)) throw new HarrierError('USAGE', 'the input knows the entity by its value, and not by its token', { remedy: 'give what `harrier privacy find <token>` finds' })
  const topic = topologyNames(stageOf(loadTopology(options.topology), options.stage), options.namespace).input
  const producer = await RecordProducer.open({ ...connections, clock: systemClock, logger: silentLogger, settings: { 'client.id': 'harrier-forget', 'message.timeout.ms': messageMsMax } })
  try {
    const columns = new RecordColumns(1)
    columns.append(0, partitionByKey, 0, systemClock.nowMs(), Buffer.from(entity), null)
    columns.appendHeader(controlHeader, forgetControl)
    await producer.send(columns, [topic])
    await producer.delivered(deliveredMsMax)
    process.stdout.write(`asked for on ${topic}, partition ${columns.partition[0]}: state is cleared when the engine reaches it; records already on the topics stay\n`)
  } finally {
    await producer.close(closeMsMax)
  }
}
