import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { EnergyMeter, modelWattsPerCore } from '../../src/base/energy-meter.js'

describe('energy by CPU time', () => {
  const root = mkdtempSync(join(tmpdir(), 'harrier-energy-'))
  after(() => rmSync(root, { recursive: true, force: true }))
  const stat = join(root, 'stat')
  const places = { powercap: root, stat }
  const model = { joulesPerCoreSecond: modelWattsPerCore, source: 'model' }

  /** Of a machine with two packages: microjoules of each, and busy ticks of all cores. */
  const machine = (first: number, second: number, busyTicks: number): void => {
    for (const [name, microjoules] of [['intel-rapl:0', first], ['intel-rapl:1', second], ['intel-rapl:0:0', 999], ['dtpm', 999]] as const) {
      mkdirSync(join(root, name), { recursive: true })
      writeFileSync(join(root, name, 'energy_uj'), `${microjoules}\n`)
      writeFileSync(join(root, name, 'max_energy_range_uj'), '100000000\n')
    }
    // user nice system idle iowait irq softirq
    writeFileSync(stat, `cpu  ${busyTicks - 20} 5 10 5000 70 3 2 0 0 0\ncpu0 1 2 3\n`)
  }

  it('is a model where the processor counts none', () => {
    assert.deepEqual(new EnergyMeter({ powercap: join(root, 'nowhere'), stat }).figure(), model)
  })

  it('is what the packages took, by the time in which cores were busy', () => {
    machine(10_000_000, 20_000_000, 100)
    const meter = new EnergyMeter(places)
    machine(10_000_100, 20_000_000, 110)
    assert.deepEqual(meter.figure(), model, 'a tenth of a second says nothing')
    machine(16_000_000, 24_000_000, 300)
    assert.deepEqual(meter.figure(), { joulesPerCoreSecond: 5, source: 'rapl' })
  })

  it('goes on when a counter begins anew, and when it cannot be read any more', () => {
    machine(99_000_000, 0, 100)
    const meter = new EnergyMeter(places)
    machine(2_000_000, 1_000_000, 200)
    assert.deepEqual(meter.figure(), { joulesPerCoreSecond: 4, source: 'rapl' })
    rmSync(join(root, 'intel-rapl:1', 'energy_uj'))
    assert.deepEqual(meter.figure(), { joulesPerCoreSecond: 4, source: 'rapl' })
  })
})
