import { sizeText } from '../base/size-text.js'
import type { GoldenReport } from '../inference/golden.js'
import type { ModelFacts } from '../inference/inspect-model.js'

/** Misses of a golden test that are printed. */
const missesShownMax = 5

/** What `harrier models inspect` prints. */
export function factsText({ file, bytes, sha256, graph, externalData, inputs, outputs, manifest, problem }: ModelFacts): string {
  const value = (each: ModelFacts['inputs'][number]): string =>
    each.isTensor ? `${each.name}  ${each.type} [${each.shape.map((size) => (size === '' ? '?' : size)).join(', ')}]` : `${each.name}  a sequence or a map, which cannot be read`
  const operators = [...graph.operators].map(([name, count]) => (count > 1 ? `${name} ${count}` : name)).join(', ')
  const lines = [
    `${file}  ${sizeText(bytes)}  sha256 ${sha256}`,
    ...externalData.map((each) => `  weights     ${each.file}  ${sizeText(each.bytes)}  sha256 ${each.sha256}`),
    `  made by     ${graph.producer || 'unknown'}, IR version ${graph.irVersion}`,
    `  opsets      ${graph.opsets.map(({ domain, version }) => `${domain} ${version}`).join(', ')}`,
    `  parameters  ${graph.parameters.toLocaleString('en')}${graph.treeNodes > 0 ? `, and ${graph.treeNodes.toLocaleString('en')} tree nodes` : ''}`,
    `  operators   ${operators}`,
    ...inputs.map((each, index) => `  ${index === 0 ? 'inputs ' : '       '}     ${value(each)}`),
    ...outputs.map((each, index) => `  ${index === 0 ? 'outputs' : '       '}     ${value(each)}`),
    '',
  ]
  if (outputs.some((each) => !each.isTensor)) {
    lines.push("To get tensors, export again with options={id(model): {'zipmap': False}} (skl2onnx) or zipmap=False (onnxmltools).", '')
  }
  if (problem !== null) lines.push(`This manifest does not open the model yet: ${problem}`, '')
  return `${lines.join('\n')}\n# ${problem === null ? 'model.yaml' : 'model.yaml, to be corrected'}\n${manifest}`
}

/** What `harrier models test` prints. */
export function reportText(report: GoldenReport, rssBytes: number): string {
  const { model, manifest, source, tolerance, misses, dependent } = report
  const input = manifest.kind === 'window' ? `window of ${manifest.window!} rows` : manifest.kind
  const verdict = (passed: boolean): string => (passed ? 'ok    ' : 'FAILED')
  const lines = [
    `${model.reference}  ${input}, ${manifest.features.length} features, on ${model.device}${model.deviceNote ? ` (${model.deviceNote})` : ''}`,
    `  ${verdict(misses.length === 0 && report.compared > 0)}  ${report.compared} scores of ${report.sequences} sequences${source ? ` by ${source}` : ''}: largest difference ${report.largestDifference.toExponential(1)}, tolerance ${tolerance}`,
    ...misses.slice(0, missesShownMax).map(({ sequence, row, expected, actual }) => `          sequence ${sequence}, row ${row}: expected ${expected}, got ${actual}`),
    ...(misses.length > missesShownMax ? [`          and ${misses.length - missesShownMax} more`] : []),
    ...(report.hint === null ? [] : [`          in model.yaml: ${report.hint}`]),
    ...(report.compared === 0 ? ['          golden.json has no score to compare'] : []),
    `  ${verdict(dependent === 0)}  ${dependent === 0 ? 'each row has the same bits alone and among others' : `${dependent} rows have other bits alone than among others`}${model.rowsMultiple > 1 ? `; runs are padded to multiples of ${model.rowsMultiple}` : ''}`,
    `  ${report.microsecondsPerRow.toFixed(1)} us a row, ${sizeText(Math.max(0, rssBytes))} of memory`,
    report.passed ? 'passed' : 'failed',
  ]
  return `${lines.join('\n')}\n`
}
