import type { Clock } from '../../base/clock.js'
import type { ScreenSize } from './demo-screen.js'

const framesMs = 250
const enter = '\x1b[?1049h\x1b[?25l\x1b[2J'
const leave = '\x1b[?25h\x1b[?1049l'
const home = '\x1b[H'
const clearToEndOfLine = '\x1b[K'
const clearBelow = '\x1b[J'
/** Synchronised output: terminals that know it show a frame at once, others ignore it. */
const beginFrame = '\x1b[?2026h'
const endFrame = '\x1b[?2026l'
const ctrlC = '\x03'

export interface LiveScreenOptions {
  readonly input: NodeJS.ReadStream
  readonly output: NodeJS.WriteStream
  readonly clock: Clock
  readonly render: (size: ScreenSize) => string[]
  /** A key was pressed; Ctrl-C comes as `q`. */
  readonly onKey: (key: string) => void
}

/**
 * Owns the terminal while it is open: alternate screen, hidden cursor, keys without Enter. What stood there before is back
 * after `close`, also when the process ends by an error.
 */
export class LiveScreen {
  readonly #options: LiveScreenOptions
  readonly #stopFrames: () => void
  readonly #draw = (): void => this.#drawFrame()
  readonly #restore = (): void => this.close()
  readonly #onData = (data: Buffer | string): void => {
    for (const key of data.toString()) this.#options.onKey(key === ctrlC ? 'q' : key.toLowerCase())
  }
  #open = true

  constructor(options: LiveScreenOptions) {
    this.#options = options
    const { input, output, clock } = options
    output.write(enter)
    if (input.isTTY) {
      input.setRawMode(true)
      input.resume()
      input.on('data', this.#onData)
    }
    output.on('resize', this.#draw)
    process.once('exit', this.#restore)
    process.once('uncaughtExceptionMonitor', this.#restore)
    this.#stopFrames = clock.every(framesMs, this.#draw)
    this.#drawFrame()
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    const { input, output } = this.#options
    this.#stopFrames()
    output.off('resize', this.#draw)
    process.off('exit', this.#restore)
    process.off('uncaughtExceptionMonitor', this.#restore)
    if (input.isTTY) {
      input.off('data', this.#onData)
      input.setRawMode(false)
      input.pause()
    }
    output.write(leave)
  }

  #drawFrame(): void {
    if (!this.#open) return
    const { output, render } = this.#options
    const lines = render({ columns: output.columns || 80, rows: output.rows || 24 })
    output.write(`${beginFrame}${home}${lines.join(`${clearToEndOfLine}\r\n`)}${clearToEndOfLine}${clearBelow}${endFrame}`)
  }
}
