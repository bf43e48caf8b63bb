import { writeFileSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { sizeText } from '../base/size-text.js'
import type { DevicePolicy } from '../inference/device.js'
import { silentLogger } from '../base/logger.js'
import { importVersion } from '../registry/import-version.js'
import { modelCard } from '../registry/model-card.js'
import { exportModel, keyId, readSigningKey, readTrustedKey } from '../registry/model-package.js'
import { readRegistration } from '../inference/registration.js'
import type { Release } from '../registry/release.js'
import { addConnectionOptions, type ConnectionOptions } from '../stack/connections.js'
import { harrierVersion } from '../topology/harrier-version.js'
import { loadTopology } from '../topology/load-topology.js'
import { modelLibrary, modelsFolder } from '../topology/open-scorer.js'
import { addStoreOptions, modelsAt, storeChoice } from './object-places.js'
import { defaultActor, withDesk, type StageOptions } from './releases.js'

interface ExportOptions extends ConnectionOptions {
  models: string
  out: string
  key: string
  actor: string
  json?: boolean
}

interface ImportOptions extends ConnectionOptions {
  models: string
  trust: string[]
  actor: string
  device: DevicePolicy
  json?: boolean
}

/** `harrier models card|export|import` */
export function registerExchange(models: Command): void {
  const card = models
    .command('card')
    .description('a model card of a version, in Markdown: training data, metrics, intended use, limits, lineage')
    .argument('<model>', '<name>@<version>')
    .option('--out <file>', 'write it there')
    .option('--topology <name>', 'with what became of it by the ledger of this topology')
    .option('--namespace <name>', 'prefix of topics and ids')
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
  addConnectionOptions(card).action(writeCard)
  addStoreOptions(models.command('export').description('write a version into one signed file, for another Harrier'))
    .argument('<model>', '<name>@<version>')
    .requiredOption('--key <file>', 'ed25519 private key in PEM: openssl genpkey -algorithm ed25519 -out model-key.pem')
    .requiredOption('--out <file>', 'where it goes')
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--actor <name>', 'who does it', defaultActor())
    .option('--json', 'for machines')
    .action(exportVersion)
  addStoreOptions(models.command('import').description('check the signature of an exported version, and register it'))
    .argument('<file>', 'what export has written')
    .requiredOption('--trust <file>', 'ed25519 public key in PEM of whoever exported it; may be given several times', (file: string, all: string[]) => [...all, file], [])
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--actor <name>', 'who does it', defaultActor())
    .addOption(new Option('--device <device>', 'where its trial run is').choices(['cpu', 'webgpu', 'cuda', 'auto']).default('cpu'))
    .option('--json', 'for machines')
    .action(importFile)
}

async function writeCard(reference: string, options: Omit<StageOptions, 'topology'> & { topology?: string; out?: string }): Promise<void> {
  const model = await modelLibrary(modelsAt(options.models, () => storeChoice(options), silentLogger)).load(reference)
  const { topology } = options
  const releases: Release[] | null = topology === undefined ? null : []
  for (const view of topology === undefined ? [] : loadTopology(topology).chain) {
    if (view.stage.models.champion === undefined) continue
    releases!.push(...(await withDesk({ ...options, topology: topology!, stage: view.stageName }, (desk) => desk.releases())).entries)
  }
  const text = modelCard({ model, registration: readRegistration(model.folder), releases })
  if (options.out === undefined) process.stdout.write(text)
  else {
    writeFileSync(options.out, text)
    process.stdout.write(`${reference}: written to ${options.out}\n`)
  }
}

async function exportVersion(reference: string, options: ExportOptions): Promise<void> {
  const { models, out, key: keyFile, actor, json } = options
  const key = readSigningKey(keyFile)
  const { folder } = await modelLibrary(modelsAt(models, () => storeChoice(options), silentLogger)).load(reference)
  const header = exportModel({ folder, out, key, actor, nowMs: systemClock.nowMs(), harrier: harrierVersion })
  const bytes = header.files.reduce((sum, file) => sum + file.bytes, 0)
  if (json) process.stdout.write(`${JSON.stringify({ ...header, file: out, keyId: keyId(key) })}\n`)
  else process.stdout.write(`${reference}: ${header.files.length} files, ${sizeText(bytes)}, written to ${out}\n  signed with key ${keyId(key)}; whoever imports it needs the public key: openssl pkey -in ${keyFile} -pubout\n`)
}

async function importFile(file: string, options: ImportOptions): Promise<void> {
  const { models, trust, actor, device, json } = options
  const place = modelsAt(models, () => storeChoice(options), silentLogger)
  const into = typeof place === 'string' ? { root: place } : { root: place.name, register: place.register.bind(place) }
  const { model, isNew, registration, signedBy, exportedBy, exportedAt, origin } = await importVersion({ file, ...into, trusted: trust.map(readTrustedKey), names: null, actor, device, harrier: harrierVersion })
  if (json) return void process.stdout.write(`${JSON.stringify({ ...registration, folder: model.folder, isNew, signedBy })}\n`)
  const first = origin ? `, first registered ${origin.registeredAt} by ${origin.actor}` : ''
  process.stdout.write(`${model.reference} ${isNew ? 'registered' : 'was registered already, with the same files,'} in ${model.folder}\n  signed with key ${signedBy}, exported ${exportedAt} by ${exportedBy}${first}\n`)
}
