// node subscribe.js [topic]          npm i kafkajs @kafkajs/confluent-schema-registry, and lz4.js from beside this file
import kafkajs from 'kafkajs'
import { SchemaRegistry } from '@kafkajs/confluent-schema-registry'
import './lz4.js'

const { HARRIER_BROKERS = '127.0.0.1:19092', HARRIER_REGISTRY = 'http://127.0.0.1:19081/apis/ccompat/v7' } = process.env
const topic = process.argv[2] ?? 'card-fraud.alerts'

const registry = new SchemaRegistry({ host: HARRIER_REGISTRY })
const kafka = new kafkajs.Kafka({ brokers: HARRIER_BROKERS.split(','), logLevel: kafkajs.logLevel.ERROR })
const consumer = kafka.consumer({ groupId: 'my-program', readUncommitted: false })

await consumer.connect()
await consumer.subscribe({ topics: [topic], fromBeginning: true })
await consumer.run({
  eachMessage: async ({ message }) => {
    const { event_id, entity, score, decision, model, attributes, lineage } = await registry.decode(message.value)
    // Values of `attributes` are tagged with their type: { long: 23145 }
    console.log(event_id, entity, score.toFixed(3), decision, model, attributes.amount?.long, `${lineage.task}#${lineage.sequence}`)
  },
})
