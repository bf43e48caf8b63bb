import { Option, type Command } from 'commander'
import { stringify } from 'yaml'
import { systemClock } from '../base/clock.js'
import type { DevicePolicy } from '../inference/device.js'
import { testGolden } from '../inference/golden.js'
import { inspectModel } from '../inference/inspect-model.js'
import { hiddenFloatsOf } from '../inference/manifest.js'
import { modelFileBytes, ModelStore, type LoadedModel } from '../inference/model-store.js'
import { loadTopology } from '../topology/load-topology.js'
import { modelsFolder, stageCategories } from '../topology/open-scorer.js'
import { factsText, reportText, sizeText } from './model-text.js'

interface Options {
  readonly models: string
  readonly json?: boolean
}

/** `harrier models list|show|inspect|test` */
export function register(program: Command): void {
  const models = program.command('models').description('model versions: what is there, and what each reads and gives')
  models
    .command('list')
    .description('every model version of the folder; each file is checked against its sha256')
    .option('--models <folder>', 'folder of model versions', modelsFolder)
    .option('--json', 'for machines')
    .action((options: Options) => {
      const store = new ModelStore(options.models)
      const rows = store.list().map((reference) => summary(store.load(reference)))
      if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
      else if (rows.length === 0) process.stdout.write(`no models in ${options.models}\n`)
      else process.stdout.write(table(rows))
    })
  models
    .command('show')
    .description('one model version: its manifest, as checked, with all defaults')
    .argument('<model>', '<name>@<version>, for example card-gru@1')
    .option('--models <folder>', 'folder of model versions', modelsFolder)
    .option('--json', 'for machines')
    .action((reference: string, options: Options) => {
      const model = new ModelStore(options.models).load(reference)
      if (options.json) process.stdout.write(`${JSON.stringify({ ...model.manifest, folder: model.folder })}\n`)
      else process.stdout.write(`# ${model.folder}: ${sizeText(modelFileBytes(model))}, sha256 of every file checked\n${stringify(model.manifest, { lineWidth: 140 })}`)
    })
  models
    .command('inspect')
    .description('what an ONNX file takes, gives and holds, and a manifest to start from')
    .argument('<file>', 'an .onnx file')
    .option('--topology <name>', 'take names of features and vocabularies from this topology')
    .option('--manifest', 'the manifest alone: redirect it to model.yaml')
    .option('--json', 'for machines')
    .action(inspect)
  models
    .command('test')
    .description('score the golden rows of a model (golden.json beside model.yaml) and compare')
    .argument('<folder>', 'the folder of model.yaml')
    .addOption(new Option('--device <device>', 'where to run it').choices(['cpu', 'webgpu', 'cuda', 'auto']).default('cpu'))
    .option('--json', 'for machines')
    .action(test)
}

async function inspect(file: string, options: { topology?: string; manifest?: boolean; json?: boolean }): Promise<void> {
  const stage = options.topology === undefined ? undefined : loadTopology(options.topology).stage
  const facts = await inspectModel(file, stage && { features: stage.features.map(({ name }) => name), categories: stageCategories(stage) })
  if (options.json) {
    const { operators, opsets, parameters, treeNodes, producer, irVersion } = facts.graph
    process.stdout.write(`${JSON.stringify({ ...facts, graph: { operators: Object.fromEntries(operators), opsets, parameters, treeNodes, producer, irVersion } })}\n`)
  } else if (options.manifest) process.stdout.write(facts.manifest)
  else process.stdout.write(factsText(facts))
}

async function test(folder: string, options: { device: DevicePolicy; json?: boolean }): Promise<void> {
  const before = process.memoryUsage.rss()
  const report = await testGolden(folder, { device: options.device, clock: systemClock })
  const rssBytes = process.memoryUsage.rss() - before
  if (options.json) process.stdout.write(`${JSON.stringify({ ...report, manifest: undefined, rssBytes })}\n`)
  else process.stdout.write(reportText(report, rssBytes))
  if (!report.passed) process.exitCode = 1
}

interface Summary {
  readonly model: string
  readonly kind: string
  readonly features: number
  /** Rows of a window model's input. */
  readonly window: number | null
  /** Floats of a recurrent model's hidden state, for each entity. */
  readonly hidden: number | null
  readonly bytes: number
  readonly sha256: string
  readonly description: string
}

function summary(model: LoadedModel): Summary {
  const { reference, manifest } = model
  const { kind, features, window, sha256, description } = manifest
  const hidden = kind === 'recurrent' ? hiddenFloatsOf(manifest) : null
  const shape = { features: features.length, window: window ?? null, hidden }
  return { model: reference, kind, ...shape, bytes: modelFileBytes(model), sha256, description: description ?? '' }
}

function table(rows: readonly Summary[]): string {
  const head = ['MODEL', 'KIND', 'FEATURES', 'WINDOW', 'HIDDEN', 'KB', 'SHA256', 'DESCRIPTION']
  const number = (value: number | null): string => (value === null ? '-' : String(value))
  const cells = rows.map(({ model, kind, features, window, hidden, bytes, sha256, description }) => [
    model, kind, number(features), number(window), number(hidden), number(Math.ceil(bytes / 1024)), sha256.slice(0, 12), description,
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]!.length)))
  return [head, ...cells].map((row) => `${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()}\n`).join('')
}
