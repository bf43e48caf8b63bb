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
 * What HARRIER_KAFKA_CLIENT says; without it the native client, or node-rdkafka where the native one was not compiled.
 * @throws HarrierError CONFIG_INVALID (no such client), PREREQUISITE_MISSING (native is demanded and not there).
 */
export function chooseKafkaClient(wanted = process.env[kafkaClientVariable]): KafkaClientChoice {
  const native = loadNative()
  if (wanted === undefined || wanted === '') return 'why' in native ? { name: 'node-rdkafka', why: native.why } : { name: 'native', why: 'compiled, and the faster one' }
  if (wanted === 'node-rdkafka') return { name: wanted, why: `${kafkaClientVariable} says so` }
  if (wanted !== 'native') throw new HarrierError('CONFIG_INVALID', `${kafkaClientVariable}: "${wanted}" is no client`, { remedy: `one of ${kafkaClientNames.join(', ')}, or nothing for the best that is here` })
  if ('why' in native) throw new HarrierError('PREREQUISITE_MISSING', `${kafkaClientVariable} demands the native client: ${native.why}`, { remedy: nativeRemedy })
  return { name: wanted, why: `${kafkaClientVariable} says so` }
}
