export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'bad' | 'warning' | 'accent' | 'bar'

const codes: Record<Style, string> = {
  plain: '',
  bold: '\x1b[1m',
  dim: '\x1b[2m',
  good: '\x1b[32m',
  bad: '\x1b[1;31m',
  warning: '\x1b[33m',
  accent: '\x1b[36m',
  bar: '\x1b[7m',
}
const reset = '\x1b[0m'

/** A piece of a line, all in one style. Every character is one column wide. */
export interface Span {
  readonly text: string
  readonly style: Style
}

export function span(text: string, style: Style = 'plain'): Span {
  return { text, style }
}

export function left(text: string, columns: number): string {
  return text.length > columns ? `${text.slice(0, Math.max(0, columns - 1))}…` : text.padEnd(columns)
}

export function right(text: string, columns: number): string {
  return text.padStart(columns)
}

/** The spans as one line of at most `columns`, with no space at the end. */
export function styledLine(spans: readonly Span[], columns: number, coloured: boolean): string {
  let room = columns
  let line = ''
  for (const { text, style } of spans) {
    const shown = text.slice(0, room)
    room -= shown.length
    if (shown !== '') line += coloured && codes[style] !== '' ? `${codes[style]}${shown}${reset}` : shown
    if (room === 0) break
  }
  return coloured ? line : line.trimEnd()
}

/** Colours are for terminals, and NO_COLOR (no-color.org) turns them off. */
export function wantsColours(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
}

/** Text of others for a terminal: control characters, which could move its cursor or worse, become a dot. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '·')
}
