/** A JSON log line of the engine as a person reads it; any other line as it is. */
export function readableLogLine(line: string): string {
  if (!line.startsWith('{')) return line
  try {
    const { time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>
    const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(message)}${rest.join('')}`
  } catch {
    return line
  }
}
