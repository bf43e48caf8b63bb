import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import avro from 'avsc'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { TopologyTestDriver, type TestRecord } from '../../src/topology/test-driver.js'
import { gruStep, TestStore } from '../inference/test-models.js'
import { malformedAvro, malformedJson } from './malformed-records.js'
import { card, cardRecord, smallTopology, startMs } from './card-events.js'

describe('malformed records', () => {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep())
  })
  after(() => store.remove())

  for (const format of ['avro', 'json'] as const) {
    it(`${format}: each becomes a dead letter with cause, original bytes, key and headers, and the stream goes on`, async () => {
      const driver = await TopologyTestDriver.open({ topology: smallTopology({ format }), models: store.root, partitions: 1 })
      const good = cardRecord(card(1, 'a', startMs))
      const schema = loadOwnSchema('transaction')
      const type = avro.Type.forSchema(schema as avro.Schema)
      const encode = (value: object): Buffer => Buffer.concat([schemaPrefix(driver.registry.register(schema)), type.toBuffer(value)])
      const broken = format === 'avro' ? malformedAvro(encode, (other) => driver.registry.register(other)) : malformedJson()
      const headers = { traceparent: '00-1-2-01', bytes: Buffer.from([0, 200, 1]) }
      const records = broken.flatMap(({ key, value }, i): TestRecord[] => [{ key, value, headers, timestampMs: startMs + i, partition: 0 }, { ...good, value: card(1000 + i, 'a', startMs + i) }])
      const { scored, deadLetters, lineage } = await driver.pipe(records, 7)
      assert.equal(scored.length, broken.length)
      assert.equal(deadLetters.length, broken.length)
      for (const [i, { what, key, value, exception, message }] of broken.entries()) {
        const letter = deadLetters[i]!
        assert.equal(String(letter.headers['__streams.errors.exception']), exception, what)
        assert.match(String(letter.headers['__streams.errors.message']), message, what)
        assert.equal(String(letter.headers['__streams.errors.topic']), 'transactions')
        assert.equal(String(letter.headers['__streams.errors.partition']), '0')
        assert.equal(String(letter.headers['__streams.errors.offset']), String(2 * i))
        assert.ok('__streams.errors.stacktrace' in letter.headers)
        assert.equal(letter.headers['traceparent']!.toString(), headers.traceparent)
        assert.deepEqual(letter.headers['bytes'], headers.bytes)
        assert.deepEqual(letter.bytes, value === null ? null : Buffer.from(value), what)
        assert.deepEqual(letter.key, key === null ? null : Buffer.from(key), what)
        assert.equal(letter.timestampMs, startMs + i)
      }
      assert.equal(lineage.reduce((sum, output) => sum + output.value.counts.dead_letters, 0), broken.length)
      assert.equal(driver.stateDigests().size, 2, 'no entity but the good one')
      await driver.close()
    })
  }

  it('a broken record changes no score of the good ones around it', async () => {
    const topology = smallTopology()
    const [clean, dirty] = await Promise.all([0, 1].map(() => TopologyTestDriver.open({ topology, models: store.root })))
    const good = Array.from({ length: 20 }, (_, i) => cardRecord(card(i, 'a', startMs + i * 1000)))
    const scores = (records: { value: unknown }[]): number[] => records.map(({ value }) => (value as { score: number }).score)
    const expected = scores((await clean!.pipe(good)).scored)
    const mixed = good.flatMap((record): TestRecord[] => [{ key: 'a', value: Buffer.from('not avro') }, record, { key: null, value: record.value }])
    assert.deepEqual(scores((await dirty!.pipe(mixed, 11)).scored), expected)
    await Promise.all([clean!.close(), dirty!.close()])
  })
})
