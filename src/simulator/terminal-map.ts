const planeSize = 100

/** Draws before all near terminals are listed: a point with terminals around but none near. */
const rejectionsMax = 64

/** Terminals on the plane in cells as wide as the radius: those near a point lie in the nine cells around it. */
export class TerminalMap {
  readonly x: Float64Array
  readonly y: Float64Array
  readonly radius: number
  readonly #side: number
  readonly #cellStart: Int32Array
  readonly #cellTerminals: Int32Array
  readonly #rangeFrom = new Int32Array(3)
  readonly #rangeEnd = new Int32Array(3)

  constructor(x: Float64Array, y: Float64Array, radius: number) {
    this.x = x
    this.y = y
    this.radius = radius
    this.#side = Math.max(1, Math.floor(planeSize / radius))
    const cells = this.#side * this.#side
    const start = new Int32Array(cells + 1)
    for (let t = 0; t < x.length; t++) start[this.#cellOf(x[t]!, y[t]!) + 1]!++
    for (let c = 0; c < cells; c++) start[c + 1]! += start[c]!
    const fill = start.slice()
    this.#cellStart = start
    this.#cellTerminals = new Int32Array(x.length)
    for (let t = 0; t < x.length; t++) this.#cellTerminals[fill[this.#cellOf(x[t]!, y[t]!)]!++] = t
  }

  /** The terminals nearer than the radius, ascending. */
  near(x: number, y: number): number[] {
    const found: number[] = []
    const { left, right, bottom, top } = this.#around(x, y)
    for (let row = bottom; row <= top; row++) {
      const end = this.#cellStart[row * this.#side + right + 1]!
      for (let i = this.#cellStart[row * this.#side + left]!; i < end; i++) {
        const terminal = this.#cellTerminals[i]!
        if (this.#isNear(terminal, x, y)) found.push(terminal)
      }
    }
    return found.sort((a, b) => a - b)
  }

  /**
   * One of the terminals nearer than the radius, each with the same chance; -1 if there is none. Draws from the cells
   * around and rejects what lies too far (about a third is taken), so that no list is kept for a customer.
   */
  pick(x: number, y: number, uniform: () => number): number {
    const { left, right, bottom, top } = this.#around(x, y)
    const from = this.#rangeFrom
    const end = this.#rangeEnd
    let total = 0
    for (let row = bottom; row <= top; row++) {
      const first = this.#cellStart[row * this.#side + left]!
      total += this.#cellStart[row * this.#side + right + 1]! - first
      from[row - bottom] = first
      end[row - bottom] = total
    }
    if (total === 0) return -1
    for (let tries = 0; tries < rejectionsMax; tries++) {
      const at = Math.floor(uniform() * total)
      let range = 0
      while (at >= end[range]!) range++
      const terminal = this.#cellTerminals[from[range]! + at - (range === 0 ? 0 : end[range - 1]!)]!
      if (this.#isNear(terminal, x, y)) return terminal
    }
    const near = this.near(x, y)
    return near.length === 0 ? -1 : near[Math.floor(uniform() * near.length)]!
  }

  #isNear(terminal: number, x: number, y: number): boolean {
    const dx = x - this.x[terminal]!
    const dy = y - this.y[terminal]!
    return Math.sqrt(dx * dx + dy * dy) < this.radius
  }

  #column(coordinate: number): number {
    return Math.min(this.#side - 1, Math.floor((coordinate / planeSize) * this.#side))
  }

  #cellOf(x: number, y: number): number {
    return this.#column(y) * this.#side + this.#column(x)
  }

  /** Columns and rows of the cells around a point. Cells side by side in a row lie side by side in memory. */
  #around(x: number, y: number): { left: number; right: number; bottom: number; top: number } {
    const column = this.#column(x)
    const row = this.#column(y)
    const last = this.#side - 1
    return { left: Math.max(0, column - 1), right: Math.min(last, column + 1), bottom: Math.max(0, row - 1), top: Math.min(last, row + 1) }
  }
}
