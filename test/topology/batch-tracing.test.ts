import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { silentLogger } from '../../src/base/logger.js'
import { systemClock } from '../../src/base/clock.js'
import { tracedEventsMax } from '../../src/topology/batch-tracing.js'
import { onnxruntimeVersion } from '../../src/inference/device-class.js'
import { Sink } from '../../src/topology/names.js'
import { openTracing, type Tracing } from '../../src/topology/open-tracing.js'
import { Outputs } from '../../src/topology/outputs.js'
import { TopologyTestDriver, type TestOutput, type TestRecord } from '../../src/topology/test-driver.js'
import { rowModel, TestStore } from '../inference/test-models.js'
import { card, cardRecord, minuteMs, smallTopology, startMs } from './card-events.js'

interface ExportedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[]
  readonly status: { readonly code?: number }
}

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'
const traceparent = (flags: string, trace = traceId): string => `00-${trace}-${spanId}-${flags}`

describe('traces of a stage', () => {
  let received: ExportedSpan[] = []
  let resource = ''
  const collector = createServer((request: IncomingMessage, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      assert.equal(request.url, '/v1/traces')
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as { resourceSpans: { resource: object; scopeSpans: { spans: ExportedSpan[] }[] }[] }
      resource = JSON.stringify(resourceSpans[0]!.resource)
      received.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)))
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  let tracing: Tracing
  const variable = 'OTEL_EXPORTER_OTLP_ENDPOINT'
  const set = process.env[variable]
  const drivers: TopologyTestDriver[] = []
  const store = new TestStore()
  const topology = smallTopology({ champion: 'row@1', limits: 'batchRecordsMax: 512' })

  before(async () => {
    store.add('row', rowModel())
    collector.listen(0, '127.0.0.1')
    await once(collector, 'listening')
    process.env[variable] = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
    tracing = (await openTracing({ clock: systemClock, logger: silentLogger }))!
  })
  after(async () => {
    if (set === undefined) Reflect.deleteProperty(process.env, variable)
    else process.env[variable] = set
    for (const driver of drivers) await driver.close()
    collector.closeAllConnections()
    collector.close()
    store.remove()
  })

  const open = async (traced: Tracing | undefined): Promise<TopologyTestDriver> => {
    const driver = await TopologyTestDriver.open({ topology, models: store.root, startMs, tracing: traced })
    drivers.push(driver)
    return driver
  }
  const record = (id: number, headers: Record<string, string>, amount = 2500): TestRecord => cardRecord(card(id, `c${id}`, startMs + id * minuteMs, { amount_minor: amount }), { headers })
  const parentOf = ({ headers }: TestOutput): string | undefined => headers.traceparent?.toString()
  const spans = async (): Promise<ExportedSpan[]> => {
    await tracing.flush()
    const all = received
    received = []
    return all
  }

  it('are off where no collector is named', async () => {
    for (const env of [{}, { [variable]: '' }, { [variable]: 'http://127.0.0.1:1', OTEL_SDK_DISABLED: 'true' }]) assert.equal(await openTracing({ clock: systemClock, logger: silentLogger, env }), undefined)
    const { scored } = await (await open(undefined)).pipe([record(1, { traceparent: traceparent('01') })])
    assert.equal(parentOf(scored[0]!), traceparent('01'))
  })

  it('have a span of the batch with a link to each sampled event, a span of each such event in its own trace, and outputs that carry on from it', async () => {
    const driver = await open(tracing)
    const other = 'a'.repeat(32)
    const sent = [record(1, { x: '1', traceparent: traceparent('01'), y: '2' }, 912_345), record(2, { traceparent: traceparent('00') }), record(3, {}), record(4, { traceparent: traceparent('03', other) }), record(5, { traceparent: 'nonsense' })]
    const { scored, alerts } = await driver.pipe(sent)
    const all = await spans()
    const batch = all.find(({ name }) => name === 'process transactions')!
    const events = all.filter(({ name }) => name === 'score small')
    assert.equal(all.length, 3)
    assert.deepEqual(batch.links!.map((link) => `${link.traceId}-${link.spanId}`), [`${traceId}-${spanId}`, `${other}-${spanId}`])
    assert.equal(batch.parentSpanId ?? '', '')
    assert.deepEqual(events.map((event) => [event.traceId, event.parentSpanId]), [[traceId, spanId], [other, spanId]])
    for (const { links } of events) assert.deepEqual(links!.map((link) => link.spanId), [batch.spanId])
    assert.deepEqual(scored.map(parentOf), [`00-${traceId}-${events[0]!.spanId}-01`, traceparent('00'), undefined, `00-${other}-${events[1]!.spanId}-03`, 'nonsense'])
    assert.ok(alerts.length > 0)
    assert.deepEqual(alerts.map(parentOf), scored.slice(0, alerts.length).map(parentOf), 'an alert has the parent of its scored event')
    assert.deepEqual(Object.entries(scored[0]!.headers).map(([name]) => name), ['x', 'traceparent', 'y'])
    assert.match(resource, /"service.name","value":\{"stringValue":"harrier"/)
    assert.doesNotMatch(JSON.stringify(all, (key, value: unknown) => (key.endsWith('UnixNano') ? undefined : value)), /"c1"|912345/, 'no key and no amount')
    assert.ok(batch.attributes.some(({ key, value }) => key === 'messaging.batch.message_count' && Number(value.intValue) === 5))
  })

  it('leave no span of an event whose transaction was aborted, and the same bytes when it is done again', async () => {
    const driver = await open(tracing)
    const records = [record(1, { traceparent: traceparent('01') }), record(2, { traceparent: traceparent('01') })]
    const first = await driver.fold(records)
    // the commit fails after the records were made
    const outputs = new Outputs(driver.stage, {
      schemaIds: { scored: 1, alert: 2, lineage: 3 }, inputTopic: driver.names.input, partitions: 1, transactionalId: 'a', tracing: tracing.stage(topology, driver.names.input),
      engine: { harrier: '0', onnxruntime: onnxruntimeVersion(), node: '0', device_class: 'x' },
    })
    outputs.decide(first.batch)
    outputs.encode(first.batch)
    const made = first.batch.outputs
    const aborted = Array.from({ length: made.count }, (_, row) => row).filter((row) => made.topic[row] === Sink.scored).map((row) => made.headers(row)[0]!.value!.toString())
    driver.rollback(first)
    const again = await driver.commit(await driver.fold(records))
    const all = await spans()
    assert.deepEqual(all.map(({ name, status }) => `${name} ${status.code ?? 0}`).sort(), ['process transactions 0', 'process transactions 2', 'score small 0', 'score small 0'])
    assert.deepEqual(again.scored.map(parentOf), aborted)
    assert.equal(new Set(aborted).size, 2, 'events of one trace are told apart')
    const elsewhere = await (await open(tracing)).pipe(records, 1)
    assert.deepEqual(elsewhere.scored.map(parentOf), aborted, 'borders of batches do not show')
    await spans()
  })

  it('have no more spans in a batch than their limit, and the scores are those without traces', async () => {
    const records = Array.from({ length: tracedEventsMax + 10 }, (_, id) => record(id, { traceparent: traceparent('01') }))
    const { scored } = await (await open(tracing)).pipe(records)
    assert.equal((await spans()).filter(({ name }) => name === 'score small').length, tracedEventsMax)
    assert.equal(scored.filter((output) => parentOf(output) === traceparent('01')).length, 10)
    const plain = await (await open(undefined)).pipe(records)
    assert.deepEqual(scored.map(({ bytes }) => bytes), plain.scored.map(({ bytes }) => bytes))
  })
})
