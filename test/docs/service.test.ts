import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { testService, type TestService } from '../web/web-fixture.js'

describe('docs/service.md', () => {
  const text = readFileSync('docs/service.md', 'utf8')
  let service: TestService
  before(async () => {
    service = await testService({ models: ['card-row'] })
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
      const shown = path.replace('{topology}', '<topology>').replace('/v2/models/{model}/versions/{version}', '/v2/models/<model>').replace('/v2/models/{model}', '/v2/models/<model>')
      const inTable = text.includes(`${shown}\``) || text.includes(`\`…${shown.replace('/v2/models/<model>', '')}\``)
      assert.ok(inTable, `${path} is in docs/service.md`)
    }
  })
})
