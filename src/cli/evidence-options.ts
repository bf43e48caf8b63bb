import type { Command } from 'commander'
import { ArchiveLog } from '../audit/archive-log.js'
import { CombinedLog } from '../audit/combined-log.js'
import { ModelFiles } from '../audit/model-files.js'
import { KafkaLog, type RecordLog } from '../audit/record-log.js'
import { systemClock } from '../base/clock.js'
import { createLogger, type Logger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology, type Topology } from '../topology/load-topology.js'
import { modelsFolder } from '../topology/open-scorer.js'
import { archiveAt, modelsAt, storeChoice } from './object-places.js'
import { parseCount } from './parse-options.js'

/** Options of the commands that look for what made a score. */
export interface EvidenceOptions extends ConnectionOptions {
  topology?: string
  namespace?: string
  models?: string
  archive?: string
  offline?: boolean
  partition?: number
  at?: number
  scanMax: number
  json?: boolean
}

export interface Evidence {
  readonly topology: Topology
  readonly namespace: string | undefined
  readonly log: RecordLog
  readonly archive: ArchiveLog | undefined
  readonly models: ModelFiles
  topologyOf(digest: string): Promise<Topology | undefined>
  readonly logger: Logger
  close(): Promise<void>
}

export function addEvidenceOptions(command: Command, parseTime: (text: string) => number, parseNatural: (text: string) => number): Command {
  command
    .option('--topology <name>', 'the topology that scored it (default: that of the archive, else card-fraud)')
    .option('--namespace <name>', 'the prefix with which the topology runs (default: that of the archive)')
    .option('--models <folder or s3://…>', 'folder of model versions; files are found by their sha256 (default: models/ of Harrier)')
    .option('--archive <folder or s3://…>', 'what `harrier archive` has kept: looked at first')
    .option('--offline', 'look at the archive alone, without a broker')
    .option('--partition <n>', 'look only here', parseNatural)
    .option('--at <time>', 'about when it was scored: an hour before and after is searched', parseTime)
    .option('--scan-max <n>', 'scored events that are looked at before it is given up', parseCount, 10_000_000)
    .option('--json', 'one line of JSON')
  return addConnectionOptions(command)
}

export async function openEvidence(options: EvidenceOptions): Promise<Evidence> {
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })
  const archive = options.archive === undefined ? undefined : await ArchiveLog.open(archiveAt(options.archive, () => storeChoice(options), logger))
  const kept = archive && options.topology === undefined ? await archive.newestTopology() : undefined
  const topology = kept ?? loadTopology(options.topology ?? 'card-fraud')
  const namespace = options.namespace ?? archive?.index.namespace ?? undefined
  const kafka = options.offline && archive ? undefined : await KafkaLog.open(await resolveConnections(options), systemClock, logger)
  const logs = [...(archive ? [archive] : []), ...(kafka ? [kafka] : [])]
  const places = [modelsAt(options.models ?? modelsFolder, () => storeChoice(options), logger), ...(archive ? [archive.models] : [])]
  const close = async (): Promise<void> => {
    archive?.close()
    await kafka?.close()
  }
  return { topology, namespace, log: logs.length === 1 ? logs[0]! : new CombinedLog(logs), archive, models: new ModelFiles(places), topologyOf: async (digest) => archive?.topology(digest), logger, close }
}
