import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { aclCommands, neededAcls } from '../../src/topology/acls.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'
import { inputSubject, outputSubjects } from '../../src/topology/subjects.js'

describe('rights on the cluster', () => {
  const topology = loadTopology('card-fraud')

  it('a namespace is in front of every topic, group, transactional id and subject', () => {
    const names = topologyNames(topology, 'acme')
    const named = [...names.sinks, names.input, names.group, names.instance('a'), names.transactionalId('a'), ...neededAcls([names]).flatMap((acl) => acl.names)]
    const subjects = [inputSubject(topology, names)!, ...outputSubjects(topology, names).map(({ subject }) => subject)]
    for (const name of [...named, ...subjects]) assert.match(name, /^acme\./)
    assert.throws(() => topologyNames(topology, 'a b'), { code: 'USAGE' })
    assert.throws(() => topologyNames(topology, 'a'.repeat(101)), { code: 'USAGE' })
  })

  it('cover each topic that the engine writes or reads, once, and none of another topology', () => {
    const names = topologyNames(topology)
    const run = neededAcls([names]).filter((acl) => acl.for === 'run')
    const topics = run.filter(({ resource }) => resource === 'topic').flatMap((acl) => acl.names)
    assert.deepEqual([...topics].sort(), [names.input, ...names.sinks, 'harrier.models'].sort())
    assert.deepEqual(run.filter(({ pattern }) => pattern === 'prefixed').flatMap((acl) => acl.names), ['card-fraud-'])
    assert.ok(run.every(({ operations }) => operations.every((operation) => operation === 'Read' || operation === 'Write')))
  })

  it('an engine with guardrails may release, one without may not', () => {
    const names = topologyNames(topology)
    const ofLedger = (guardrails: boolean): string[] =>
      neededAcls([names], { guardrails }).filter((acl) => acl.for === 'run' && acl.names.some((name) => name.startsWith('harrier.'))).map(({ resource, names: on, operations }) => `${resource} ${on.join(' ')} ${operations.join(' ')}`)
    assert.deepEqual(ofLedger(false), ['topic harrier.models Read'])
    assert.deepEqual(ofLedger(true), ['topic harrier.models harrier.releases Read Write', 'transactional-id harrier.releases- Write'])
  })

  it('are printed for kafka-acls.sh, one command a line, for a principal that cannot break out of its quotes', () => {
    const text = aclCommands([topologyNames(topology)], ['x-value'], 'User:CN=harrier,O=Bank')
    const commands = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    assert.equal(commands.length, neededAcls([topologyNames(topology)]).length)
    const start = `kafka-acls.sh --bootstrap-server "$BROKERS" --command-config admin.properties --add --allow-principal 'User:CN=harrier,O=Bank'`
    for (const command of commands) {
      assert.ok(command.startsWith(start), command)
      assert.match(command.slice(start.length), /^( --operation \w+)+( --(topic|group|transactional-id) [\w.-]+)+( --resource-pattern-type prefixed)?$/)
    }
    // Only who lets apply create the input needs more than to look at it.
    assert.match(text, /\n# harrier topology apply --partitions,[^\n]*\n[^\n]* --operation Create --topic transactions\n\n/)
    assert.throws(() => aclCommands([topologyNames(topology)], [], "User:x' --topic '*"), { code: 'USAGE' })
  })
})
