import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crossoverTable } from '../../src/cli/device-text.js'
import { winsFrom, type Crossover } from '../../src/inference/device-crossover.js'
import type { Finding } from '../../src/stack/doctor.js'
import { vulkanDriverFiles } from '../../src/stack/vulkan-devices.js'
import { topologyFile } from '../../src/topology/load-topology.js'
import { whyNoWebgpu } from '../inference/webgpu-adapter.js'
import { harrier } from './stack-fixture.js'

const skip = await whyNoWebgpu()
const notLinux = process.platform === 'linux' ? false : 'drivers are looked for on Linux only'

describe('harrier doctor --gpu', () => {
  let folder: string

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'harrier-doctor-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** One small model, so that measuring is quick. */
  const examined = async (device: string, env: NodeJS.ProcessEnv): Promise<{ code: number | null; ok: boolean; by: Map<string, Finding>; crossovers: Crossover[] }> => {
    const own = topologyFile('card-fraud')
    const text = readFileSync(own, 'utf8')
      .replace('../schemas', resolve(own, '..', '..', 'schemas'))
      .replace('fallback: { model: card-row@1 }', 'fallback: review')
      .replace(/champion: .*\n\s+shadows: .*/, `champion: card-row@1\n      device: ${device}`)
    const file = join(folder, `${device}.yaml`)
    writeFileSync(file, text)
    const { code, stdout, stderr } = await harrier(['doctor', '--gpu', '--topology', file, '--json'], env)
    assert.notEqual(stdout, '', stderr)
    const { ok, findings, crossovers } = JSON.parse(stdout) as { ok: boolean; findings: Finding[]; crossovers: Crossover[] }
    return { code, ok, by: new Map(findings.map((finding) => [finding.name, finding])), crossovers }
  }

  it('says what is missing and how to get it: optional while the topology runs on the CPU', { skip: notLinux }, async () => {
    const { code, ok, by } = await examined('cpu', { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '' })
    assert.deepEqual([code, ok], [0, true])
    for (const name of ['CUDA: driver', 'CUDA: libraries', 'CUDA: cuDNN', 'CUDA: provider', 'WebGPU: Vulkan loader']) assert.ok(by.has(name), name)
    for (const { name, state, remedy } of by.values()) assert.ok(state === 'ok' || (state === 'optional' && remedy), name)
    assert.match(by.get('WebGPU: drivers')!.remedy!, /mesa-vulkan-drivers/)
    assert.equal(by.get('WebGPU: adapter')!.state, 'optional')
    const provider = by.get('CUDA: provider')!
    const script = /node (\S+install\.js)/.exec(provider.remedy ?? '')
    if (provider.state !== 'ok') assert.ok(script && existsSync(script[1]!), 'the script that it names is in the package')
  })

  it('fails when the device that the topology names is not there', { skip: notLinux }, async () => {
    const { code, ok, by } = await examined('webgpu', { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '' })
    assert.deepEqual([code, ok], [1, false])
    assert.equal(by.get('WebGPU: adapter')!.state, 'missing')
    assert.notEqual(by.get('CUDA: cuDNN')!.state, 'missing')
  })

  it('names the adapter, and measures the models of the topology on it', { skip }, async () => {
    const { ok, by, crossovers } = await examined('webgpu', {})
    assert.equal(ok, true)
    assert.match(by.get('WebGPU: adapter')!.found, /onnxruntime opens card-row@1/)
    if (vulkanDriverFiles().some((file) => file.includes('swiftshader'))) {
      assert.match(by.get('WebGPU: drivers')!.found, /SwiftShader.*\(software\)/)
      assert.match(by.get('WebGPU: adapter')!.found, /in software/)
    }
    const measured = crossovers.find(({ device }) => device === 'webgpu')!
    assert.equal(measured.model, 'card-row@1')
    assert.equal(measured.problem, null)
    assert.deepEqual(measured.runs.map(({ rows }) => rows), [1, 8, 64, 256, 1024, 2048])
    assert.ok(measured.runs.every(({ cpuMs, deviceMs }) => cpuMs > 0 && deviceMs > 0))
  })

  it('takes the size from which the device wins at every larger one, too', () => {
    const runs = (...wins: boolean[]): Crossover['runs'] => wins.map((win, index) => ({ rows: 8 << index, cpuMs: 2, deviceMs: win ? 1 : 3 }))
    assert.equal(winsFrom(runs(false, true, false, true, true)), 64)
    assert.equal(winsFrom(runs(true, true)), 8)
    assert.equal(winsFrom(runs(true, false)), null)
    assert.equal(winsFrom(runs()), null)
    const crossover = { model: 'm@1', device: 'cuda', runs: runs(false, true), winsFromRows: 16, problem: null } as const
    const refused = { model: 'r@1', device: 'cuda', runs: [], winsFromRows: null, problem: 'it has no kernel there for Det' } as const
    const lines = crossoverTable([crossover, refused]).split('\n')
    assert.match(lines[2]!, /cuda +3\.00 +1\.00 {2}cuda is faster from 16 rows$/)
    assert.match(lines[3]!, /^ {2}r@1 +cuda +cannot run there: it has no kernel there for Det$/)
  })
})
