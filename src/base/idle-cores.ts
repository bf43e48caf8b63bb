import { cpus } from 'node:os'

/** How many cores of the machine nobody used since the last look, be it this process or another. */
export class IdleCores {
  #idle = 0
  #all = 0

  constructor() {
    this.look()
  }

  look(): number {
    const cores = cpus()
    const idle = cores.reduce((sum, { times }) => sum + times.idle, 0)
    const all = cores.reduce((sum, { times }) => sum + times.idle + times.user + times.sys + times.nice + times.irq, 0)
    const share = all > this.#all ? (idle - this.#idle) / (all - this.#all) : 0
    this.#idle = idle
    this.#all = all
    return share * cores.length
  }
}
