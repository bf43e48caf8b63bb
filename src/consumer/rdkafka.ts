import { createRequire } from 'node:module'
import type Kafka from 'node-rdkafka'
import { HarrierError, messageOf } from '../base/errors.js'

let loaded: typeof Kafka | undefined

/**
 * node-rdkafka, loaded when it is first used: it is compiled for one major version of Node.js, and where that has changed, all that
 * needs no broker works on, and the doctor can say what is wrong. Errors: PREREQUISITE_MISSING.
 */
export function rdkafka(): typeof Kafka {
  if (loaded) return loaded
  try {
    loaded = createRequire(import.meta.url)('node-rdkafka') as typeof Kafka
    return loaded
  } catch (error) {
    const why = messageOf(error).replace(/\s+/g, ' ')
    const isOther = /different Node\.js version/.test(why)
    throw new HarrierError('PREREQUISITE_MISSING', isOther ? `node-rdkafka was compiled for another version of Node.js than this one, ${process.version}` : `node-rdkafka does not load: ${why}`, {
      remedy: 'npm rebuild node-rdkafka; `harrier doctor` tells what that needs',
      cause: error,
    })
  }
}
