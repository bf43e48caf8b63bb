import type { Clock } from '../base/clock.js'

/** Between two ticks where they cannot be overwritten. */
const plainTickMs = 5_000

/** Shows steps as lines; ticks on one line that is overwritten on a terminal, and now and then as a line elsewhere. */
export function terminalProgress(stream: NodeJS.WriteStream, clock: Clock): { onProgress: (text: string, kind: 'step' | 'tick') => void; end: () => void } {
  let ticking = false
  let lastTickMs = clock.monotonicMs()
  const end = (): void => {
    if (ticking) stream.write('\r\x1b[K')
    ticking = false
  }
  const onProgress = (text: string, kind: 'step' | 'tick'): void => {
    if (kind === 'step') {
      end()
      stream.write(`${text}\n`)
    } else if (stream.isTTY) {
      stream.write(`\r\x1b[K${text.slice(0, (stream.columns ?? 80) - 1)}`)
      ticking = true
    } else if (clock.monotonicMs() - lastTickMs >= plainTickMs) {
      lastTickMs = clock.monotonicMs()
      stream.write(`${text}\n`)
    }
  }
  return { onProgress, end }
}
