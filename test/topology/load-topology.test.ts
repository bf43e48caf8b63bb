import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { loadTopology, parseTopology, topologyFile, TopologyError, type Topology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'

const file = topologyFile('card-fraud')
const text = readFileSync(file, 'utf8')

/** The shipped topology with one thing changed. */
function changed(from: string | RegExp, to: string): Topology {
  const other = text.replace(from, to)
  assert.notEqual(other, text, `the topology holds ${String(from)}`)
  return parseTopology(other, file)
}

function problemsOf(from: string | RegExp, to: string): TopologyError {
  try {
    changed(from, to)
  } catch (error) {
    assert.ok(error instanceof TopologyError)
    return error
  }
  return assert.fail('the topology was accepted')
}

describe('a topology file', () => {
  it('that ships with Harrier is right', () => {
    const topology = loadTopology('card-fraud')
    assert.equal(topology.stageName, 'customer')
    assert.equal(topology.stage.features.length, 14)
    assert.equal(topology.stage.ttl, 60 * 86_400_000)
  })

  const refusals: [what: string, from: string | RegExp, to: string, path: string, message: RegExp][] = [
    ['a feature of a field that is not there', 'field: amount, scale: 0.01 }', 'field: amont, scale: 0.01 }', 'stages.customer.features[0].field', /"amont" is not a field of the source/],
    ['a feature of text', 'kind: log1p, field: amount', 'kind: log1p, field: terminal', 'stages.customer.features[1].field', /text; a feature reads numbers/],
    ['a kind that nobody knows', 'kind: hourSin', 'kind: hourSine', 'stages.customer.features[2]', /./],
    ['a feature named twice', 'name: hour_cos', 'name: hour_sin', 'stages.customer.features[3].name', /declared twice/],
    ['a window beyond the ttl', 'ttl: 60d', 'ttl: 20d', 'stages.customer.ttl', /longest window plus grace/],
    ['a key that is no text field', 'key: customer', 'key: amount', 'stages.customer.key', /not a text field/],
    ['no event time', /event_time: \{[^}]*\}/, '', 'source.fields.event_time', /is required/],
    ['thresholds upside down', /decline: [\d.]+/, 'decline: 0.0001', 'stages.customer.policy.review', /review must not be above decline/],
    ['an attribute that is no field', 'attributes: [amount, terminal]', 'attributes: [amount, terminl]', 'stages.customer.policy.attributes[1]', /not a field/],
    ['a shadow named twice', 'card-cnn@1, card-row@1', 'card-row@1, card-row@1', 'stages.customer.models.shadows[2]', /named twice/],
    ['the champion as its own fall-back', 'fallback: { model: card-row@1 }', 'fallback: { model: card-gru@1 }', 'stages.customer.policy.fallback.model', /cannot stand in for itself/],
    ['a duration that is none', 'grace: 1h', 'grace: an hour', 'stages.customer.grace', /500ms, 10s, 5m, 1h or 30d/],
    ['a limit of the other kind of delivery', 'batchRecordsMax:', 'earlyBatchesMax: 4\n  batchRecordsMax:', 'limits.earlyBatchesMax', /only with delivery: atLeastOnce/],
    ['a misspelt limit', 'batchRecordsMax', 'batchRecordMax', 'limits', /batchRecordMax/],
  ]
  for (const [what, from, to, path, message] of refusals) {
    it(`is refused for ${what}, with file, line and path`, () => {
      const error = problemsOf(from, to)
      const problem = error.problems.find((each) => each.path.startsWith(path))
      assert.ok(problem, `${path} in ${error.message}`)
      assert.match(problem.message, message)
      assert.ok(error.message.includes(`${file}:${problem.line}`), error.message)
      assert.ok(error.remedy.length > 0)
    })
  }

  it('that is not YAML is refused at its line', () => {
    assert.throws(() => parseTopology('name: a\n  b: [', 'x.yaml'), (error: TopologyError) => error.code === 'TOPOLOGY_INVALID' && error.problems[0]!.line !== undefined)
  })

  it('that is not there is refused with what to do', () => {
    assert.throws(() => loadTopology('nowhere'), /there is no topology "nowhere"/)
  })
})

describe('digests of a topology', () => {
  const { digests } = loadTopology('card-fraud')

  it('the layout changes with windows, features, grace, ttl and ring', () => {
    for (const [from, to] of [['window: 7d', 'window: 8d'], ['grace: 1h', 'grace: 2h'], ['ttl: 60d', 'ttl: 61d'], ['ring: 32', 'ring: 33'], ['name: log_amount', 'name: amount_log']] as const) {
      assert.notEqual(changed(from, to).digests.layout, digests.layout, to)
    }
  })

  it('the layout stays through another model, threshold or batch size', () => {
    for (const [from, to] of [['champion: card-gru@1', 'champion: card-gru@2'], [/decline: [\d.]+/, 'decline: 0.81'], [/batchRecordsMax: \d+/, 'batchRecordsMax: 101']] as const) {
      const other = changed(from, to)
      assert.equal(other.digests.layout, digests.layout, to)
      assert.notEqual(other.digests.topology, digests.topology)
    }
  })

  it('the policy digest names thresholds and models, the features digest features', () => {
    assert.notEqual(changed(/decline: [\d.]+/, 'decline: 0.81').digests.policy, digests.policy)
    assert.notEqual(changed('champion: card-gru@1', 'champion: card-gru@2').digests.policy, digests.policy)
    assert.equal(changed(/decline: [\d.]+/, 'decline: 0.81').digests.features, digests.features)
    assert.notEqual(changed('name: log_amount', 'name: amount_log').digests.features, digests.features)
  })
})

describe('names on the cluster', () => {
  it('follow the conventions, and a namespace prefixes them all', () => {
    const topology = loadTopology('card-fraud')
    const plain = topologyNames(topology)
    assert.deepEqual(
      [plain.input, ...plain.sinks, plain.group, plain.transactionalId('a')],
      ['transactions', 'card-fraud.scored', 'card-fraud.alerts', 'card-fraud.dlq', 'card-fraud.lineage', 'card-fraud.customer.state', 'card-fraud', 'card-fraud-a-0'],
    )
    const spaced = topologyNames(topology, 'try')
    for (const name of [spaced.input, ...spaced.sinks, spaced.group, spaced.instance('a'), spaced.transactionalId('a')]) assert.match(name, /^try\./)
  })
})
