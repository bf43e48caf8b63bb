import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import { stringify } from 'yaml'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { createLogger } from '../base/logger.js'
import { sizeText } from '../base/size-text.js'
import type { DevicePolicy } from '../inference/device.js'
import { testGolden } from '../inference/golden.js'
import { inspectModel } from '../inference/inspect-model.js'
import { modelFileBytes } from '../inference/loaded-model.js'
import { splitReference, type ModelLibrary } from '../inference/model-store.js'
import { isObjectUrl } from '../object-store/object-url.js'
import { registeredBy, summaryOf, versionSummary, type VersionSummary } from '../registry/model-shelf.js'
import { registerModel } from '../registry/register-model.js'
import { ObjectModels } from '../registry/object-models.js'
import type { ConnectionOptions } from '../stack/connections.js'
import { harrierVersion } from '../topology/harrier-version.js'
import { loadTopology } from '../topology/load-topology.js'
import { modelLibrary, modelsFolder, stageCategories } from '../topology/open-scorer.js'
import { registerCompare } from './compare.js'
import { registerExchange } from './model-exchange.js'
import { addStoreOptions, modelsAt, objectModels, storeChoice } from './object-places.js'
import { defaultActor, registerReleases } from './releases.js'
import { tableText } from './view/table.js'
import { factsText, reportText } from './model-text.js'

interface Options extends ConnectionOptions {
  readonly models: string
  readonly json?: boolean
}

const warnings = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })

/** `harrier models list|show|inspect|test|pull|register`, and what releases.ts adds */
export function register(program: Command): void {
  const models = program.command('models').description('model versions: what is there, and what each reads and gives')
  addStoreOptions(models.command('list').description('every model version; each file of a folder is checked against its sha256'))
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--json', 'for machines')
    .action(async (options: Options) => {
      const library = libraryOf(options)
      const rows: VersionSummary[] = []
      for (const reference of await library.list()) rows.push(await summarised(library, reference))
      if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
      else if (rows.length === 0) process.stdout.write(`no models in ${options.models}\n`)
      else process.stdout.write(table(rows))
    })
  addStoreOptions(models.command('show').description('one model version: its manifest, as checked, with all defaults'))
    .argument('<model>', '<name>@<version>, for example card-gru@1')
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--json', 'for machines')
    .action(async (reference: string, options: Options) => {
      const model = await libraryOf(options).load(reference)
      const registered = registeredBy(model)
      if (options.json) process.stdout.write(`${JSON.stringify({ ...model.manifest, folder: model.folder, registered })}\n`)
      else process.stdout.write(`# ${model.folder}: ${sizeText(modelFileBytes(model))}, sha256 of every file checked${registered === null ? '' : `, registered ${registered}`}\n${stringify(model.manifest, { lineWidth: 140 })}`)
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
  addStoreOptions(models.command('pull').description('copy model versions of an object store into a folder, each file checked against its sha256'))
    .argument('[models...]', '<name>@<version> (default: all)')
    .requiredOption('--models <s3://…>', 'the object store where versions live')
    .requiredOption('--out <folder>', 'the folder; what is there already stays as it is')
    .action(pullVersions)
  addStoreOptions(models.command('register').description('check a model version and put it where versions live; it never changes there'))
    .argument('<folder>', 'the folder of model.yaml')
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--actor <name>', 'who does it', defaultActor())
    .addOption(new Option('--device <device>', 'where its trial run is').choices(['cpu', 'webgpu', 'cuda', 'auto']).default('cpu'))
    .option('--json', 'for machines')
    .action(registerVersion)
  registerReleases(models)
  registerCompare(models)
  registerExchange(models)
}

function libraryOf(options: Options): ModelLibrary {
  return modelLibrary(modelsAt(options.models, () => storeChoice(options), warnings))
}

/** Of an object store manifests and listings are read, and no files. */
async function summarised(library: ModelLibrary, reference: string): Promise<VersionSummary> {
  if (!(library instanceof ObjectModels)) return versionSummary(await library.load(reference))
  const { model, bytes, registration } = await library.describe(reference)
  return summaryOf(model, bytes, registration)
}

async function pullVersions(references: readonly string[], options: Options & { out: string }): Promise<void> {
  if (!isObjectUrl(options.models)) throw new HarrierError('USAGE', `--models ${options.models} is no object store`, { remedy: 'write s3://<bucket>/<prefix>' })
  const models = objectModels(options.models, storeChoice(options), warnings, options.out)
  for (const reference of references.length > 0 ? references : await models.list()) {
    const { name, version } = splitReference(reference)
    const wasThere = existsSync(join(options.out, name, version))
    const { folder } = await models.load(reference)
    process.stdout.write(`${reference} ${wasThere ? 'is there already' : 'copied'}: ${folder}\n`)
  }
}

async function registerVersion(folder: string, options: Options & { actor: string; device: DevicePolicy }): Promise<void> {
  const { actor: by, device } = options
  const wanted = { folder, actor: by, device, harrier: harrierVersion, clock: systemClock }
  const place = modelsAt(options.models, () => storeChoice(options), warnings)
  const { model, registration, bytes, isNew } = typeof place === 'string' ? await registerModel({ ...wanted, root: place }) : await place.register(wanted)
  if (options.json) return void process.stdout.write(`${JSON.stringify({ ...registration, folder: model.folder, bytes, isNew })}\n`)
  const { trial, sha256, actor, registeredAt } = registration
  const ran = trial.golden ? `golden rows: ${trial.rows} scores, largest difference ${trial.largestDifference!.toExponential(1)}` : `trial run over ${trial.rows} rows of zeros: put golden.json beside the model to check its scores`
  process.stdout.write(
    [
      isNew ? `${model.reference} registered in ${model.folder}` : `${model.reference} is registered already, with the same files: by ${actor}, ${registeredAt}`,
      `  ${model.manifest.kind}, ${model.manifest.features.length} features, ${sizeText(bytes)}, sha256 ${sha256}`,
      `  ${ran}, on ${trial.device}`,
      `  next: harrier models shadow ${model.reference} --reason … or harrier models release ${model.reference} --reason …`,
      '',
    ].join('\n'),
  )
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

function table(rows: readonly VersionSummary[]): string {
  const head = ['MODEL', 'KIND', 'FEATURES', 'WINDOW', 'HIDDEN', 'SIZE', 'SHA256', 'REGISTERED', 'DESCRIPTION']
  const number = (value: number | null): string => (value === null ? '-' : String(value))
  const cells = rows.map(({ model, kind, features, window, hidden, bytes, sha256, registered, description }) => [
    model, kind, number(features), number(window), number(hidden), sizeText(bytes), sha256.slice(0, 12), registered ?? '-', description,
  ])
  return tableText(head, cells)
}
