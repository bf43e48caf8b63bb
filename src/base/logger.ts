export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Structured log lines. Fields must never hold keys of entities, payloads or secrets. */
export interface Logger {
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void
}

const rank: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 }

export function createLogger(write: (line: string) => void, options: { level?: LogLevel; json?: boolean; nowMs: () => number }): Logger {
  const floor = rank[options.level ?? 'info']
  return {
    log(level, message, fields = {}) {
      if (rank[level] < floor) return
      const time = new Date(options.nowMs()).toISOString()
      if (options.json) return write(JSON.stringify({ time, level, message, ...fields }) + '\n')
      const tail = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
      write(`${time} ${level.padEnd(5)} ${message}${tail.join('')}\n`)
    },
  }
}

export const silentLogger: Logger = { log: () => undefined }
