import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { ModelShelf } from '../../src/registry/model-shelf.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { RecordDesk } from '../../src/topology/record-desk.js'
import { StageDesks } from '../../src/topology/stage-desks.js'
import { StreamWatch } from '../../src/topology/stream-watch.js'
import { testService, type TestService } from '../web/web-fixture.js'

describe('docs/service.md', () => {
  const text = readFileSync('docs/service.md', 'utf8')
  let service: TestService
  before(async () => {
    // the desks of its stages connect to nothing before they are used
    const connection = { brokers: '127.0.0.1:1', registryUrl: 'http://127.0.0.1:1' }
    const watched = { connection, topology: loadTopology('card-fraud'), clock: systemClock, logger: silentLogger }
    const desks = new StageDesks(watched)
    const stream = { topology: 'card-fraud', watch: new StreamWatch(watched), desk: new RecordDesk({ ...watched, auditTopic: 'audit' }) }
    service = await testService({ models: ['card-row'], parts: { stream, versions: { shelf: new ModelShelf(modelsFolder), desks, trusted: [], device: 'cpu' } } })
  })
  after(() => service.close())

  it('shows an answer of /predict that comes', async () => {
    const [, body, answer] = /-d '(\{.*\})'\n +(\{.*\})\n/.exec(text)!
    const { prediction, model } = (await service.app.inject({ method: 'POST', url: '/predict', payload: body!, headers: { 'content-type': 'application/json' } })).json<{ prediction: number; model: string }>()
    const shown = JSON.parse(answer!) as { prediction: number; model: string }
    assert.equal(model, shown.model)
    // other CPUs round otherwise
    assert.ok(Math.abs(prediction - shown.prediction) < 1e-6, String(prediction))
  })

  it('names every path of the OpenAPI document', async () => {
    const { paths } = (await service.app.inject('/openapi.json')).json<{ paths: Record<string, object> }>()
    for (const path of Object.keys(paths)) {
      const shown = path.replaceAll('{', '<').replaceAll('}', '>').replace('/v2/models/<model>/versions/<version>', '/v2/models/<model>')
      const begun = shown.replace(/^(\/v2\/models\/<model>|\/v1\/models\/<model>\/versions\/<version>|\/v1\/topologies\/<topology>\/stages\/<stage>)/, '…')
      const inTable = text.includes(`\`${shown}\``) || text.includes(`\`${begun}\``)
      assert.ok(inTable, `${path} is in docs/service.md`)
    }
  })
})
