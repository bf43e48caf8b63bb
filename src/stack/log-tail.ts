import { readFileSync } from 'node:fs'
import { stackLimits } from './limits.js'

/** The last lines of a log file, indented, for an error message. */
export function logTail(path: string, lines: number = stackLimits.logTailLines): string {
  try {
    const text = readFileSync(path, 'utf8').trimEnd()
    if (text === '') return '  (its log is empty)'
    return text.split('\n').slice(-lines).map((line) => `  | ${line.slice(0, 300)}`).join('\n')
  } catch {
    return '  (it has written no log)'
  }
}
