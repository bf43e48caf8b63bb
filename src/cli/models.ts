import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { hiddenFloatsOf } from '../inference/manifest.js'
import { ModelStore, type LoadedModel } from '../inference/model-store.js'
import { modelsFolder } from '../topology/open-scorer.js'

interface Options {
  readonly models: string
  readonly json?: boolean
}

/** `harrier models list|show` */
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
      else process.stdout.write(`# ${model.folder}, file and sha256 checked\n${stringify(model.manifest, { lineWidth: 140 })}`)
    })
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

function summary({ reference, manifest, file }: LoadedModel): Summary {
  const { kind, features, window, sha256, description } = manifest
  const hidden = kind === 'recurrent' ? hiddenFloatsOf(manifest) : null
  const shape = { features: features.length, window: window ?? null, hidden }
  return { model: reference, kind, ...shape, bytes: statSync(file).size, sha256, description: description ?? '' }
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
