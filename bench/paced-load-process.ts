import { Command } from 'commander'
import { systemClock } from '../src/base/clock.js'
import { Prng } from '../src/base/prng.js'
import { addConnectionOptions, configuredConnections } from '../src/stack/connections.js'
import { PaymentWriter } from './fill-topic.js'

/** A tick of the open loop: what is due by then is sent, whatever has become of what went before. */
const tickMs = 2

/** Payments at a rate: `node paced-load-process.js TOPIC WRITTEN CARDS PAYLOAD_BYTES PER_SECOND SECONDS`, then the connection options. */
const [topic, written, cards, payloadBytes, perSecond, seconds, ...given] = process.argv.slice(2) as [string, string, string, string, string, string, ...string[]]
const connections = configuredConnections(addConnectionOptions(new Command()).parse(given, { from: 'user' }).opts())!
const writer = await PaymentWriter.open(connections, { topic, written: Number(written), payloadBytes: Number(payloadBytes) })
const prng = new Prng(3)
const total = Math.round(Number(perSecond) * Number(seconds))
const startMs = systemClock.monotonicMs()
for (let sent = 0; sent < total; ) {
  const due = Math.min(total, ((systemClock.monotonicMs() - startMs) / 1000) * Number(perSecond))
  for (; sent < due && !writer.isFull; sent++) writer.add(prng.below(Number(cards)))
  await writer.send()
  await systemClock.sleep(tickMs)
}
await writer.close()
process.exit(0)
