import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * What a busy core takes where nothing can be measured, W: a virtual CPU of a large cloud under full load, server and
 * memory included. Source: Cloud Carbon Footprint, average maximum watts of AWS.
 */
export const modelWattsPerCore = 3.5
/** Readings that are closer than this in busy time say more about the counters than about the machine, s. */
const busySecondsMin = 0.5
/** Of `/proc/stat` (USER_HZ), whatever the kernel's own tick. */
const ticksPerSecond = 100

export interface EnergyFigure {
  /** Energy that a core takes for a second of work. */
  readonly joulesPerCoreSecond: number
  /** `rapl`: measured over the time since the reading before; `model`: `modelWattsPerCore`. */
  readonly source: 'rapl' | 'model'
}

interface Reading {
  readonly packages: readonly { readonly microjoules: number; readonly range: number }[]
  readonly busySeconds: number
}

/**
 * Energy by CPU time. Where the processor counts its energy (RAPL, by Linux's powercap) and lets this process read it, that of all packages
 * is divided by the busy time of all cores, so what idling takes is borne by those who work; elsewhere, as in virtual machines, by a model.
 */
export class EnergyMeter {
  readonly #powercap: string
  readonly #stat: string
  #last: Reading | undefined
  #figure: EnergyFigure = { joulesPerCoreSecond: modelWattsPerCore, source: 'model' }

  constructor({ powercap = '/sys/class/powercap', stat = '/proc/stat' } = {}) {
    this.#powercap = powercap
    this.#stat = stat
    this.#last = this.#read()
  }

  /** The figure since the call before, or the one that that call gave when too little was done meanwhile. */
  figure(): EnergyFigure {
    const now = this.#read()
    const before = this.#last
    if (!now || !before || now.packages.length !== before.packages.length) {
      this.#last = now
      return this.#figure
    }
    const busySeconds = now.busySeconds - before.busySeconds
    if (busySeconds < busySecondsMin) return this.#figure
    const microjoules = now.packages.reduce((sum, { microjoules: at, range }, index) => {
      const used = at - before.packages[index]!.microjoules
      // the counter begins anew at its range
      return sum + (used < 0 ? used + range : used)
    }, 0)
    this.#last = now
    this.#figure = { joulesPerCoreSecond: microjoules / 1e6 / busySeconds, source: 'rapl' }
    return this.#figure
  }

  /** Undefined where the processor's energy cannot be read. */
  #read(): Reading | undefined {
    try {
      // intel-rapl:0 is a package, intel-rapl:0:1 a part of it
      const packages = readdirSync(this.#powercap).filter((name) => /^intel-rapl:\d+$/.test(name)).sort()
      if (packages.length === 0) return undefined
      const number = (name: string, file: string): number => Number(readFileSync(join(this.#powercap, name, file), 'utf8'))
      const [, user, nice, system, , , irq, softirq] = readFileSync(this.#stat, 'utf8').split('\n', 1)[0]!.split(/\s+/).map(Number)
      return {
        packages: packages.map((name) => ({ microjoules: number(name, 'energy_uj'), range: number(name, 'max_energy_range_uj') })),
        busySeconds: (user! + nice! + system! + irq! + softirq!) / ticksPerSecond,
      }
    } catch {
      return undefined
    }
  }
}
