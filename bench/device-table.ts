import { milliseconds, verdict } from '../src/cli/device-text.js'
import type { DeviceBenchResult } from './device.js'

/** The figures as Markdown, to be pasted into docs/results.md. */
export function deviceMarkdown({ machine, topology, batchRows, findings, agreement, crossovers, speeds, auto, claims }: DeviceBenchResult): string {
  const found = findings.filter(({ name, state }) => state === 'ok' && /driver|adapter/.test(name)).map(({ name, found: what }) => `${name}: ${what}`)
  const failed = claims.filter(({ passed }) => !passed)
  return [
    `${machine.cpu}, ${machine.cores} cores; onnxruntime ${machine.onnxruntime}, Node ${machine.node}. ${found.join('. ')}.`,
    `Topology ${topology}, batches of ${batchRows.toLocaleString('en')}. ${claims.length - failed.length} of ${claims.length} claims hold${failed.length > 0 ? `; not: ${failed.map(({ claim, detail }) => `${claim} (${detail})`).join('; ')}` : ''}.`,
    '',
    ...markdown(['scorer with all models', 'workers', 'events/s'], speeds.map(({ device, workers, rowsPerSecond }) => [device, String(workers), rowsPerSecond.toLocaleString('en')])),
    '',
    ...markdown(
      ['model', 'device', 'largest difference from the CPU', 'rows of a run: ms on the CPU / there', 'crossover', 'auto takes'],
      crossovers.map((crossover) => {
        const { model, device, runs, problem } = crossover
        const largest = agreement.find((each) => each.model === model && each.device === device)?.largestDifference
        const cells = runs.map(({ rows, cpuMs, deviceMs }) => `${rows.toLocaleString('en')}: ${milliseconds(cpuMs)} / ${milliseconds(deviceMs)}`).join(', ')
        return [`\`${model}\``, device, largest === undefined ? '' : largest.toExponential(1), problem ?? cells, problem === null ? verdict(crossover) : '', auto.find((each) => each.model === model)?.device ?? '']
      }),
    ),
    '',
  ].join('\n')
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
}
