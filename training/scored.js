// node training/scored.js <brokers> <topic>      Scored events of a topic as committed readers see them, one JSON line each: id and scores by model.
import avro from 'avsc'
import { systemClock } from '../dist/src/base/clock.js'
import { silentLogger } from '../dist/src/base/logger.js'
import { loadOwnSchema } from '../dist/src/codec/schema-files.js'
import { RangeReader } from '../dist/src/consumer/range-reader.js'

const [brokers, topic] = process.argv.slice(2)
const type = avro.Type.forSchema(loadOwnSchema('scored-event'))
const reader = new RangeReader({ brokers, clock: systemClock, logger: silentLogger })
await reader.start()
let text = ''
await reader.readRange({ topic, partition: 0, from: 'earliest', to: 'settled-end' }, async (columns) => {
  for (let row = 0; row < columns.count; row++) {
    const begin = columns.valueAt[row]
    const { event_id, score, scores } = type.fromBuffer(Buffer.from(columns.arena.bytes.subarray(begin + 5, begin + columns.valueBytes[row])))
    text += `${JSON.stringify([event_id, score, Object.fromEntries(scores.map(({ model, score: each }) => [model, each]))])}\n`
  }
  if (text.length > 1 << 20) {
    if (!process.stdout.write(text)) await new Promise((resolve) => process.stdout.once('drain', resolve))
    text = ''
  }
})
await reader.close()
process.stdout.write(text)
