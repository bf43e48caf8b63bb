import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, describe, it } from 'node:test'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import { silentLogger, type Logger } from '../../src/base/logger.js'
import { Secret } from '../../src/connection/secret.js'
import type { ScoringModels } from '../../src/inference/scorer.js'
import { EventRefused, HttpTarget, LineageOutlet, type LineageTarget } from '../../src/topology/lineage-outlet.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'
import type { RunEvent } from '../../src/topology/run-event.js'
import { RunLineage } from '../../src/topology/run-lineage.js'
import { runEventRules } from './openlineage-rules.js'

const isValid = runEventRules()

function models(release: number, reference: string): ScoringModels {
  return { release, models: [{ role: 'champion', reference, sha256: 'ab'.repeat(32), manifestDigest: 'cd'.repeat(32), share: 1, epoch: release + 1, kind: 'recurrent', device: 'cpu', deviceNote: null, rowsMultiple: 1, fileBytes: 1, openedBytes: 1 }] }
}

// A facet as a reader without its types sees it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Loose = any

/** A collector that answers as it is told to. */
async function collector(answer: (index: number) => number): Promise<{ url: string; taken: { event: RunEvent; headers: IncomingHttpHeaders; path: string | undefined }[]; asked: () => number }> {
  const taken: { event: RunEvent; headers: IncomingHttpHeaders; path: string | undefined }[] = []
  let asked = 0
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
      const status = answer(asked++)
      if (status < 300) taken.push({ event: JSON.parse(Buffer.concat(parts).toString()) as RunEvent, headers: request.headers, path: request.url })
      response.writeHead(status).end('told')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1/lineage`, taken, asked: () => asked }
}

async function until(done: () => boolean): Promise<void> {
  for (let tries = 0; !done(); tries++) {
    assert.ok(tries < 2000, 'it never came')
    await systemClock.sleep(5)
  }
}

function lineageOf(name: string, outlets: LineageOutlet[], clock = new ManualClock(1_700_000_000_000)): { lineage: RunLineage; clock: ManualClock; state: { models: ScoringModels; scored: number } } {
  const topology = loadTopology(name).chain.at(-1)!
  const state = { models: models(0, 'card-gru@1'), scored: 0 }
  const context = { topology, names: topologyNames(topology, 'acme'), brokers: 'kafka.bank:9092,other:9092', jobNamespace: 'risk', instanceId: 'a', deviceClass: 'cpu' }
  return { clock, state, lineage: new RunLineage({ context, outlets, clock, inForce: () => state.models, counts: () => ({ scored: state.scored, alerts: 1, deadLetters: 0 }) }) }
}

describe('OpenLineage', () => {
  it('a collector is told of each run as the specification wants it: one for each set of models, from START to COMPLETE or FAIL', async () => {
    const { url, taken } = await collector(() => 201)
    const outlet = new LineageOutlet(new HttpTarget(url, new Secret('k1')), { clock: systemClock, logger: silentLogger })
    const { lineage, clock, state } = lineageOf('card-fraud', [outlet])
    lineage.start()
    state.scored = 40
    clock.advance(300_000)
    state.models = models(1, 'card-gru@2')
    state.scored = 70
    lineage.switched()
    state.scored = 75
    await lineage.end(new Error('the disk is full'))
    const events = taken.map(({ event }) => event)
    for (const event of events) assert.ok(isValid(event), JSON.stringify(isValid.errors))
    assert.deepEqual(events.map(({ eventType }) => eventType), ['START', 'RUNNING', 'COMPLETE', 'START', 'FAIL'])
    const [first, second] = [events[0]!, events[3]!]
    assert.deepEqual(events.map(({ run }) => run.runId === first.run.runId), [true, true, true, false, false])
    assert.equal(events[4]!.run.runId, second.run.runId)
    const facets = (event: RunEvent): Record<string, Loose> => event.run.facets
    assert.deepEqual(events.map((event) => `${facets(event)['harrier_models'].release} ${facets(event)['harrier_models'].models[0].model}`), ['0 card-gru@1', '0 card-gru@1', '0 card-gru@1', '1 card-gru@2', '1 card-gru@2'])
    assert.equal(facets(events[4]!)['errorMessage'].message, 'the disk is full')
    assert.deepEqual([first.job.namespace, first.job.name, (first.job.facets['jobType'] as Loose).processingType], ['risk', 'acme.card-fraud.customer', 'STREAMING'])
    assert.deepEqual(first.inputs.map(({ namespace, name }) => `${namespace} ${name}`), ['kafka://kafka.bank:9092 acme.transactions'])
    assert.deepEqual(first.outputs.map(({ name }) => name), ['acme.card-fraud.scored', 'acme.card-fraud.alerts', 'acme.card-fraud.dlq', 'acme.card-fraud.lineage'])
    const fields = (first.inputs[0]!.facets['schema'] as Loose).fields as { name: string; type: string }[]
    assert.deepEqual(fields.find(({ name }) => name === 'amount'), { name: 'amount', type: 'integer' })
    assert.deepEqual((first.outputs[0]!.facets['schema'] as Loose).fields[0], { name: 'event_id', type: 'string' })
    const rows = events.map(({ outputs }) => (outputs[0]!.outputFacets!['outputStatistics'] as Loose).rowCount as number)
    assert.deepEqual(rows, [0, 40, 70, 0, 5], 'each run counts its own')
    assert.deepEqual([taken[0]!.headers.authorization, taken[0]!.headers['content-type'], taken[0]!.path], ['Bearer k1', 'application/json', '/api/v1/lineage'])
  })

  it('labels, later stages and what a stage passes on are datasets, too; the rules refuse what they should', async () => {
    const told: RunEvent[] = []
    const target: LineageTarget = { name: 'list', send: (event) => Promise.resolve(void told.push(JSON.parse(event) as RunEvent)), close: () => Promise.resolve() }
    for (const name of ['card-terminal', 'account-risk']) {
      const { lineage } = lineageOf(name, [new LineageOutlet(target, { clock: systemClock, logger: silentLogger })])
      lineage.start()
      await lineage.end()
    }
    for (const event of told) assert.ok(isValid(event), JSON.stringify(isValid.errors))
    assert.equal(told.length, 4)
    const [event] = told as [RunEvent]
    const without = (change: (copy: Loose) => void): unknown => {
      const copy = structuredClone(event) as object
      change(copy)
      return copy
    }
    for (const wrong of [
      without((copy) => delete copy.run.facets.harrier_models._producer), without((copy) => delete copy.job.facets.jobType._schemaURL), without((copy) => delete copy.job.facets.jobType.integration),
      without((copy) => (copy.run.runId = 'run-1')), without((copy) => (copy.eventType = 'STARTED')), without((copy) => delete copy.eventTime), without((copy) => (copy.run.facets.harrier_models.models[0].sha256 = 'x')),
      without((copy) => delete copy.outputs[0].namespace),
    ]) assert.ok(!isValid(wrong))
  })

  it('a collector that is away is tried again, in order, ever more slowly; one that refuses an event gets the next', async () => {
    const { url, taken, asked } = await collector((index) => [503, 429, 200, 422, 200][index] ?? 200)
    const told: string[] = []
    const logger: Logger = { log: (level, message) => void told.push(`${level} ${message}`) }
    const outlet = new LineageOutlet(new HttpTarget(url, undefined), { clock: systemClock, logger, limits: { pauseMsMin: 5 } })
    for (const id of ['1', '2', '3']) outlet.offer(JSON.stringify({ id }))
    await until(() => asked() === 5)
    await outlet.close()
    assert.deepEqual(taken.map(({ event }) => (event as unknown as { id: string }).id), ['1', '3'])
    assert.deepEqual(told, ['warn lineage events are not taken; they wait', 'error a lineage event was refused', 'warn lineage events were not taken'])
  })

  it('nobody waits for a target: the queue is bounded, the oldest go first, and the end comes within its time', async () => {
    const clock = new ManualClock()
    const tries: number[] = []
    let isBack = false
    const got: string[] = []
    const target: LineageTarget = {
      name: 'away',
      send: (event) => {
        tries.push(clock.monotonicMs())
        if (!isBack) return Promise.reject(new Error('connection refused'))
        got.push(event)
        return event === 'e8' ? Promise.reject(new EventRefused('no')) : Promise.resolve()
      },
      close: () => Promise.resolve(),
    }
    const outlet = new LineageOutlet(target, { clock, logger: silentLogger, limits: { eventsMax: 3, pauseMsMin: 1000, pauseMsMax: 4000 } })
    const settle = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await Promise.resolve()
    }
    for (let i = 0; i < 10; i++) outlet.offer(`e${i}`)
    for (let second = 0; second < 16; second++) {
      await settle()
      clock.advance(1000)
    }
    await settle()
    assert.deepEqual(tries, [0, 1000, 3000, 7000, 11_000, 15_000])
    assert.equal(outlet.dropped, 7)
    isBack = true
    clock.advance(4000)
    await settle()
    assert.deepEqual(got, ['e7', 'e8', 'e9'])
    isBack = false
    outlet.offer('last')
    await settle()
    const closed = outlet.close()
    clock.advance(2000)
    await closed
  })
})
