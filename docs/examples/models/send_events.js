// node docs/examples/models/send_events.js events.csv <topic> [brokers]      Sends the events of make_events.py as JSON, keyed by card.
import { readFileSync } from 'node:fs'
import { Kafka, logLevel } from 'kafkajs'

const [file, topic, brokers = process.env.HARRIER_BROKERS ?? '127.0.0.1:19092'] = process.argv.slice(2)
const [head, ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/)
const names = head.split(',')
const messages = lines.map((line) => {
  const { id, time, card, amount_cents, channel, merchant_code } = Object.fromEntries(line.split(',').map((value, at) => [names[at], value]))
  const event = { id, time: Number(time), card, amount_cents: Number(amount_cents), channel, merchant_code: Number(merchant_code) }
  return { key: card, value: JSON.stringify(event), timestamp: time }
})
const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.ERROR })
const admin = kafka.admin()
await admin.connect()
await admin.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true }) // where harrier run has not made it yet
await admin.disconnect()
const producer = kafka.producer()
await producer.connect()
for (let at = 0; at < messages.length; at += 1000) await producer.send({ topic, messages: messages.slice(at, at + 1000) })
await producer.disconnect()
console.log(`${messages.length} events sent to ${topic}`)
