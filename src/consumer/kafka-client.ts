import { HarrierError } from '../base/errors.js'
import { loadNative } from './native-binding.js'

/**
 * Two ways to librdkafka, behind the same seams: `native` (native/addon.cc) moves whole batches between librdkafka and columns
 * in threads of its own; `node-rdkafka` makes an object for each record, and works wherever that package does.
 */
export const kafkaClientNames = ['native', 'node-rdkafka'] as const
export type KafkaClientName = (typeof kafkaClientNames)[number]

export const kafkaClientVariable = 'HARRIER_KAFKA_CLIENT'

export interface KafkaClientChoice {
  readonly name: KafkaClientName
  /** Why it is not the other one; for the log and the doctor. */
  readonly why: string
}

/** How a native client that is not there is compiled. */
export const nativeRemedy = 'apt-get install g++ make python3, then npm run build:native'

/**
 * What HARRIER_KAFKA_CLIENT says; without it node-rdkafka: the native client has not yet proved itself through the deaths of brokers.
 * @throws HarrierError CONFIG_INVALID (no such client), PREREQUISITE_MISSING (native is demanded and not there).
 */
export function chooseKafkaClient(wanted = process.env[kafkaClientVariable]): KafkaClientChoice {
  if (wanted === undefined || wanted === '') return { name: 'node-rdkafka', why: 'the default' }
  if (wanted === 'node-rdkafka') return { name: wanted, why: `${kafkaClientVariable} says so` }
  if (wanted !== 'native') throw new HarrierError('CONFIG_INVALID', `${kafkaClientVariable}: "${wanted}" is no client`, { remedy: `one of ${kafkaClientNames.join(', ')}, or nothing for node-rdkafka` })
  const native = loadNative()
  if ('why' in native) throw new HarrierError('PREREQUISITE_MISSING', `${kafkaClientVariable} demands the native client: ${native.why}`, { remedy: nativeRemedy })
  return { name: wanted, why: `${kafkaClientVariable} says so` }
}
