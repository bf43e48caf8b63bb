import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { DeviceBenchResult } from '../../bench/device.js'
import { topologyFile } from '../../src/topology/load-topology.js'
import { whyNoWebgpu } from '../inference/webgpu-adapter.js'
import { harrier } from '../stack/stack-fixture.js'

const skip = await whyNoWebgpu()

describe('harrier bench device', () => {
  let folder: string
  let topology: string

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'harrier-device-'))
    topology = join(folder, 'row.yaml')
    const own = topologyFile('card-fraud')
    const text = readFileSync(own, 'utf8')
    const small = text.replace('../schemas', resolve(own, '..', '..', 'schemas')).replace('fallback: { model: card-row@1 }', 'fallback: review').replace('batchRecordsMax: 4096', 'batchRecordsMax: 100')
    writeFileSync(topology, small.replace(/champion: .*\n\s+shadows: .*/, 'champion: card-row@1'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const bench = (device: string): ReturnType<typeof harrier> => harrier(['bench', 'device', '--topology', topology, '--device', device, '--seconds', '1', '--out', join(folder, 'out'), '--json'], {})

  it('runs the whole acceptance and writes its figures: JSON, and tables for the page of results', { skip }, async () => {
    const { code, stdout, stderr } = await bench('webgpu')
    assert.equal(code, 0, stdout + stderr)
    const result = JSON.parse(stdout) as DeviceBenchResult
    assert.deepEqual(JSON.parse(readFileSync(join(folder, 'out', 'device.json'), 'utf8')), result)
    assert.equal(result.passed, true)
    assert.deepEqual(result.claims.map(({ claim }) => claim), [
      'card-row@1 scores on webgpu as on the CPU', 'webgpu gives the same bits again', 'webgpu gives the same bits with 2 workers', 'golden rows of card-row@1 on webgpu', 'auto says what it measured for card-row@1',
    ])
    assert.deepEqual([...new Set(result.speeds.map(({ device }) => device))], ['cpu', 'webgpu'])
    assert.ok(result.speeds.every(({ rowsPerSecond }) => rowsPerSecond > 0))
    const page = readFileSync(join(folder, 'out', 'device.md'), 'utf8')
    assert.match(page, /^\| webgpu \| 1 \| [\d,]+ \|$/m)
    assert.match(page, /^\| `card-row@1` \| webgpu \| \S+ \| 1: /m)
  })

  it('refuses without a GPU, naming what is missing', async () => {
    const { code, stderr } = await bench('cuda')
    // a machine with CUDA passes
    if (code === 0) return
    assert.notEqual(code, null)
    assert.match(stderr, /card-row@1 cannot run on cuda: /)
    assert.match(stderr, /harrier doctor --gpu/)
  })
})
