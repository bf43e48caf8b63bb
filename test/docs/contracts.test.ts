import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { parse, stringify } from 'yaml'
import { Arena } from '../../src/base/arena.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { parseManifest } from '../../src/inference/manifest-schema.js'
import { loadTopology, parseTopology } from '../../src/topology/load-topology.js'
import { codeBlocks, readDocuments, root } from './documents.js'

describe('contracts shown in the documentation', () => {
  it('the topology of topology.md passes the check and reads the record beside it', async () => {
    const text = (await readDocuments()).get('docs/topology.md')!
    const topology = parseTopology(codeBlocks(text, 'yaml')[0]!, join(root, 'topologies/transfers.yaml'))
    const records = new RecordColumns(1, new Arena(1 << 16))
    records.append(0, 0, 0, 0, Buffer.from('k'), Buffer.from(codeBlocks(text, 'json')[0]!))
    const events = new EventColumns(topology.fields, 1)
    createSourceDecoder({ format: 'json', fields: topology.fields }).decode(records, events)
    assert.equal(events.faultMessage(0), '')
    assert.equal(events.text(events.index('event_id'), 0, records.arena), '7f3a-22')
    assert.equal(events.numbers[events.index('event_time')]![0], Date.UTC(2024, 4, 2, 7, 14, 3, 120))
    assert.equal(events.numbers[events.index('cents')]![0], 12_990)
    assert.equal(events.text(events.index('channel'), 0, records.arena), 'instant')
  })

  it('the source of contracts.md is that of the example, which passes the check', async () => {
    const shown = parse(codeBlocks((await readDocuments()).get('docs/contracts.md')!, 'yaml')[0]!) as { source: { fields: object } }
    const { spec } = loadTopology(join(root, 'docs/examples/contracts/credit-transfers.yaml'))
    for (const [name, field] of Object.entries(shown.source.fields)) assert.deepEqual(spec.source.fields[name], field, name)
    const outputs = parse(codeBlocks((await readDocuments()).get('docs/contracts.md')!, 'yaml')[1]!) as object
    const text = readFileSync(join(root, 'topologies/card-fraud.yaml'), 'utf8')
    assert.equal(parseTopology(`${text}\n${stringify(outputs)}`, join(root, 'topologies/card-fraud.yaml')).spec.schemas?.register, false)
  })

  it('the source of the README is the beginning of a topology', async () => {
    const documents = await readDocuments()
    const source = parse(codeBlocks(documents.get('README.md')!, 'yaml')[0]!) as { source: object }
    const whole = parse(codeBlocks(documents.get('docs/topology.md')!, 'yaml')[0]!) as Record<string, object>
    const fields = { channel: { path: 'channel', type: 'text' }, ...(source.source as { fields: object }).fields }
    parseTopology(JSON.stringify({ ...whole, source: { ...source.source, fields } }), join(root, 'topologies/transfers.yaml'))
  })

  it('the test of a topology passes', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['docs/examples/test-topology.js'], { cwd: root })
    assert.match(stdout, /scores 0\.\d{3}|scores 1\.000/)
  })

  it('the manifest of the README is one', async () => {
    const manifest = parseManifest(codeBlocks((await readDocuments()).get('README.md')!, 'yaml')[1]!, 'model.yaml')
    assert.equal(manifest.kind, 'recurrent')
  })
})
