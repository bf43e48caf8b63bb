import { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { RecordProducer } from './record-producer.js'

export const publisherLimits = {
  /** How long the acknowledgement of a batch's outputs is waited for, ms: as long as for a call of a transaction, all tries together. */
  publishMsMax: 15_000,
  closeMsMax: 2000,
} as const

/** Outputs that leave before the transaction of their batch. */
export interface OutputPublisher {
  /** All rows are acknowledged when it is back; they must not change until then. Errors: TRANSACTION_ABORTED (the batch is processed again), and those of `RecordProducer.send`. */
  publish(columns: RecordColumns, topics: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** A record that was given up must not come late: give `producer` a `message.timeout.ms` of `publishMsMax`. */
export function outputPublisher(producer: Pick<RecordProducer, 'send' | 'delivered' | 'close'>): OutputPublisher {
  return {
    async publish(columns, topics) {
      if (columns.count === 0) return
      try {
        await producer.send(columns, topics)
        await producer.delivered(publisherLimits.publishMsMax)
      } catch (error) {
        // A broker that has just started may not know a topic for a moment: tried again as a transaction is, and given up with it.
        if (!(error instanceof HarrierError) || (error.code !== 'BROKER_UNAVAILABLE' && error.code !== 'TOPIC_MISSING')) throw error
        throw new HarrierError('TRANSACTION_ABORTED', `publishing before the transaction: ${error.message}`, { cause: error })
      }
    },
    close: () => producer.close(publisherLimits.closeMsMax),
  }
}
