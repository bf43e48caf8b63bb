// node docs/examples/test-topology.js      A real topology with its models, without a broker, on a clock that the test moves.
import assert from 'node:assert/strict'
import { loadTopology, TopologyTestDriver } from '../../dist/src/index.js'

const driver = await TopologyTestDriver.open({ topology: loadTopology('card-fraud') })
const noon = Date.UTC(2024, 4, 2, 12)
const pay = (id, amount_minor, event_time) => ({
  key: '4711',
  value: { transaction_id: id, event_time, customer_id: '4711', terminal_id: '31', amount_minor, currency: 'EUR' },
})

const ordinary = await driver.pipe(Array.from({ length: 20 }, (_, day) => pay(day, 2_500, noon + day * 86_400_000)))
assert.deepEqual([...new Set(ordinary.scored.map(({ value }) => value.decision))], ['APPROVE'])

const { scored, alerts, deadLetters } = await driver.pipe([pay(20, 90_000, noon + 20 * 86_400_000), pay(21, -1, noon + 20 * 86_400_000)])
assert.equal(scored[0].value.decision, 'DECLINE')
assert.equal(alerts.length, 1)
assert.match(String(deadLetters[0].headers['__streams.errors.message']), /field amount .* below its minimum/)
await driver.close()
console.log(`a payment of 900.00 after twenty of 25.00 scores ${scored[0].value.score.toFixed(3)}`)
