import type { Crossover } from '../inference/device-crossover.js'

/** Two lines for each model and device: milliseconds of a run by its rows, and from which size on the device is faster. */
export function crossoverTable(crossovers: readonly Crossover[]): string {
  if (crossovers.length === 0) return 'No GPU provider is there: nothing is measured.\n'
  const sizes = [...new Set(crossovers.flatMap(({ runs }) => runs.map(({ rows }) => rows)))].sort((a, b) => a - b)
  const width = Math.max(...crossovers.map(({ model }) => model.length), 'ms of a run, by rows'.length)
  const line = (name: string, device: string, cells: readonly string[], end = ''): string => `  ${name.padEnd(width)}  ${device.padEnd(6)}${cells.map((cell) => cell.padStart(10)).join('')}${end}`
  const lines = [line('ms of a run, by rows', '', sizes.map((rows) => rows.toLocaleString('en')))]
  for (const crossover of crossovers) {
    const { model, device, runs, problem } = crossover
    if (problem !== null) {
      lines.push(line(model, device, [], `  cannot run there: ${problem}`))
      continue
    }
    const cells = (of: (run: Crossover['runs'][number]) => number): string[] =>
      sizes.map((rows) => runs.find((run) => run.rows === rows)).map((run) => (run ? milliseconds(of(run)) : ''))
    lines.push(line(model, 'cpu', cells((run) => run.cpuMs)))
    lines.push(line('', device, cells((run) => run.deviceMs), `  ${verdict(crossover)}`))
  }
  return `${lines.join('\n')}\n`
}

export function verdict({ device, winsFromRows }: Crossover): string {
  return winsFromRows === null ? 'the CPU is faster' : winsFromRows === 1 ? `${device} is faster` : `${device} is faster from ${winsFromRows.toLocaleString('en')} rows`
}

export function milliseconds(value: number): string {
  return value < 100 ? value.toFixed(value < 1 ? 3 : 2) : value.toFixed(0)
}
