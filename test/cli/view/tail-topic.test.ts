import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { partitionsOf, topicNamed } from '../../../src/cli/view/tail-topic.js'
import { loadTopology } from '../../../src/topology/load-topology.js'
import { topologyNames } from '../../../src/topology/names.js'

describe('the topic of harrier tail', () => {
  const topology = loadTopology('card-fraud')

  it('may be given by the short names of the topology', () => {
    const names = topologyNames(topology, 'ns')
    assert.deepEqual(
      ['scored', 'alerts', 'lineage', 'dlq', 'input'].map((name) => topicNamed(name, names, 'ns')),
      ['ns.card-fraud.scored', 'ns.card-fraud.alerts', 'ns.card-fraud.lineage', 'ns.card-fraud.dlq', 'ns.transactions'],
    )
  })

  it('may be given in full, with or without the namespace', () => {
    assert.equal(topicNamed('orders', topologyNames(topology), undefined), 'orders')
    assert.equal(topicNamed('orders', topologyNames(topology, 'ns'), 'ns'), 'ns.orders')
    assert.equal(topicNamed('ns.orders', topologyNames(topology, 'ns'), 'ns'), 'ns.orders')
  })

  it('that is not there is an error that names those which end alike', () => {
    const all = new Map([
      ['a.card-fraud.alerts', 4],
      ['__alerts', 1],
      ['a.card-fraud.scored', 4],
    ])
    assert.equal(partitionsOf('a.card-fraud.alerts', all), 4)
    assert.throws(() => partitionsOf('card-fraud.alerts', all), { code: 'TOPIC_MISSING', remedy: /there is a\.card-fraud\.alerts: give the full name, or --namespace/ })
    assert.throws(() => partitionsOf('nothing', all), { code: 'TOPIC_MISSING', remedy: /check the name.*no right/ })
  })
})
