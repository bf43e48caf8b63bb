/** A place on an axis, 0 to 1. */
export type Scale = (value: number) => number

export interface Axis {
  readonly scale: Scale
  readonly ticks: readonly { readonly at: number; readonly text: string }[]
  readonly title: string
}

export interface PlotOptions {
  readonly title: string
  /** Read out where the picture cannot be seen. */
  readonly description: string
  readonly x: Axis
  readonly y: Axis
  readonly width?: number
  readonly height?: number
}

const margin = { left: 62, right: 24, top: 12, bottom: 46 }

/** Drawing inside the axes of one plot; everything is clipped to it. */
export class Plot {
  readonly #options: PlotOptions
  readonly #width: number
  readonly #height: number
  /** Each has its text on a line of its own: two may stand close. */
  #verticals = 0
  readonly #marks: string[] = []

  constructor(options: PlotOptions) {
    this.#options = options
    this.#width = options.width ?? 460
    this.#height = options.height ?? 320
  }

  #x(value: number): number {
    return margin.left + clamp(this.#options.x.scale(value)) * (this.#width - margin.left - margin.right)
  }

  #y(value: number): number {
    return margin.top + (1 - clamp(this.#options.y.scale(value))) * (this.#height - margin.top - margin.bottom)
  }

  line(points: readonly { readonly x: number; readonly y: number }[], className: string, title = ''): void {
    if (points.length === 0) return
    const path = points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${round(this.#x(x))} ${round(this.#y(y))}`).join('')
    this.#marks.push(`<path class="line ${className}" d="${path}">${tip(title)}</path>`)
  }

  /** A step from value to value: counts of bins. `points` has the left edge of each. */
  steps(points: readonly { readonly from: number; readonly to: number; readonly y: number }[], className: string, floor: number): void {
    const base = this.#y(floor)
    const path = points.map(({ from, to, y }, index) => `${index === 0 ? `M${round(this.#x(from))} ${round(base)}` : ''}V${round(this.#y(y))}H${round(this.#x(to))}`).join('')
    this.#marks.push(`<path class="area ${className}" d="${path}V${round(base)}Z"/>`)
  }

  bar(from: number, to: number, low: number, high: number, className: string, title: string): void {
    const left = this.#x(from)
    const top = this.#y(high)
    this.#marks.push(`<rect class="bar ${className}" x="${round(left)}" y="${round(top)}" width="${round(Math.max(0.5, this.#x(to) - left))}" height="${round(Math.max(0, this.#y(low) - top))}">${tip(title)}</rect>`)
  }

  dot(x: number, y: number, className: string, title: string): void {
    this.#marks.push(`<circle class="dot ${className}" cx="${round(this.#x(x))}" cy="${round(this.#y(y))}" r="4">${tip(title)}</circle>`)
  }

  /** A bar of uncertainty. */
  whisker(x: number, low: number, high: number, className: string): void {
    this.#marks.push(`<path class="whisker ${className}" d="M${round(this.#x(x))} ${round(this.#y(low))}V${round(this.#y(high))}"/>`)
  }

  vertical(x: number, text: string): void {
    const at = this.#x(x)
    const isRight = at > this.#width * 0.72
    const textY = margin.top + 10 + 14 * this.#verticals++
    this.#marks.push(`<path class="mark" d="M${round(at)} ${margin.top}V${round(this.#y(NaN))}"/><text class="note" x="${round(at + (isRight ? -4 : 4))}" y="${textY}"${isRight ? ' text-anchor="end"' : ''}>${escapeHtml(text)}</text>`)
  }

  svg(): string {
    const { x, y, title, description } = this.#options
    const bottom = this.#height - margin.bottom
    const right = this.#width - margin.right
    const grid = [
      ...x.ticks.map(({ at, text }) => `<path class="grid" d="M${round(this.#x(at))} ${margin.top}V${bottom}"/><text x="${round(this.#x(at))}" y="${bottom + 16}" text-anchor="middle">${escapeHtml(text)}</text>`),
      ...y.ticks.map(({ at, text }) => `<path class="grid" d="M${margin.left} ${round(this.#y(at))}H${right}"/><text x="${margin.left - 8}" y="${round(this.#y(at) + 4)}" text-anchor="end">${escapeHtml(text)}</text>`),
    ]
    return [
      `<svg viewBox="0 0 ${this.#width} ${this.#height}" role="img" aria-label="${escapeHtml(`${title}. ${description}`)}">`,
      ...grid,
      `<path class="axis" d="M${margin.left} ${margin.top}V${bottom}H${right}"/>`,
      ...this.#marks,
      `<text class="axis-title" x="${(margin.left + right) / 2}" y="${this.#height - 8}" text-anchor="middle">${escapeHtml(x.title)}</text>`,
      `<text class="axis-title" transform="translate(14 ${(margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(y.title)}</text>`,
      '</svg>',
    ].join('')
  }
}

export function linearAxis(title: string, from: number, to: number, format: (value: number) => string = String): Axis {
  const span = to - from
  const rough = span / 5
  const power = powerOf10(Math.floor(Math.log10(rough)))
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((each) => each >= rough * 0.999) ?? rough
  const ticks: { at: number; text: string }[] = []
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to * (1 + 1e-9); i++) ticks.push({ at: i * step, text: format(Number((i * step).toPrecision(12))) })
  return { title, scale: (value) => (value - from) / span, ticks }
}

/** From a power of ten to another. */
export function logAxis(title: string, from: number, to: number, format: (value: number) => string = String): Axis {
  const low = Math.floor(Math.log10(from))
  const high = Math.max(low + 1, Math.ceil(Math.log10(to) - 1e-9))
  const every = Math.ceil((high - low) / 6)
  const ticks: { at: number; text: string }[] = []
  for (let power = low; power <= high; power += every) ticks.push({ at: powerOf10(power), text: format(powerOf10(power)) })
  return { title, scale: (value) => (value <= 0 ? 0 : (Math.log10(value) - low) / (high - low)), ticks }
}

/** Probabilities by their log-odds: what lies near 0 and near 1 has room. */
export function logitAxis(title: string, from: number, to: number): Axis {
  const logit = (p: number): number => Math.log(p / (1 - p))
  const low = logit(from)
  const high = logit(to)
  const ticks = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999].filter((at) => at >= from && at <= to)
  return { title, scale: (value) => (value <= from ? 0 : value >= to ? 1 : (logit(value) - low) / (high - low)), ticks: ticks.map((at) => ({ at, text: String(at) })) }
}

function powerOf10(power: number): number {
  return Number(`1e${power}`)
}

function clamp(value: number): number {
  return Number.isNaN(value) ? 0 : Math.min(1, Math.max(0, value))
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10)
}

function tip(text: string): string {
  return text === '' ? '' : `<title>${escapeHtml(text)}</title>`
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
