import { Option, type Command } from 'commander'
import { auditEvents, type Audited } from '../audit/audit.js'
import { idsOnTopic } from '../audit/clear-entities.js'
import { exportEvidence, periodsBy, timesOf, type PeriodBy, type TimeRange } from '../audit/evidence-export.js'
import { sampleScored } from '../audit/scored-sample.js'
import { findScored } from '../audit/scored-search.js'
import { Unavailable } from '../audit/unavailable.js'
import { verdictExitCodes, type VerdictKind } from '../audit/verdict.js'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { DevicePolicy } from '../inference/device.js'
import { RecordMask } from '../topology/record-mask.js'
import { topologyNames } from '../topology/names.js'
import { addEvidenceOptions, openEvidence, type EvidenceOptions } from './evidence-options.js'
import { auditText, iso, maskedAudit } from './evidence-text.js'
import { parseCount, parseDevice, parseNatural, parseTime } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { terminalProgress } from './terminal-progress.js'

interface AuditCommandOptions extends EvidenceOptions, PrivacyOptions {
  sample?: number
  seed: number
  device: DevicePolicy
  since?: number
  until?: number
  by: PeriodBy
  out?: string
  clear?: boolean
}

const help = `
State is rebuilt by folding the log again, from the first batch or from a snapshot before the event, and the model
version of that time is run. What is not kept is unavailable, never guessed.

Exit codes: 0 every score is proven (bit-equal, or within tolerance on another device class), 10 a score differs,
11 unavailable, 12 the entity was erased.

Examples:
  harrier audit 345912 --topology card-fraud
  harrier audit --sample 1000 --topology card-fraud
  harrier audit 345912 --archive /backup/harrier --offline
  harrier audit export --since 2024-03-01 --until 2024-04-01 --by event-time --out march.parquet`

/** `harrier audit`: computes a score again and says whether it is the one that went out. */
export function register(program: Command): void {
  const command = program
    .command('audit')
    .description('compute a score again from the log, with the model of that time, and compare it to the bit')
    .argument('[event id]', 'id of a scored event, or the word export: a period in one Parquet file, with --since, --until and --out')
    .option('--sample <n>', 'audit so many scored events, drawn by --seed', parseCount)
    .option('--seed <n>', 'of the sample', parseNatural, 1)
    .option('--device <device>', 'cpu, webgpu, cuda or auto', parseDevice, 'cpu')
    .option('--since <time>', 'export: from here on', parseTime)
    .option('--until <time>', 'export: and before', parseTime)
    .addOption(new Option('--by <time>', 'export: which time of an event counts: that of its input record, or its own').choices(periodsBy).default('record-time'))
    .option('--out <file>', 'export: the Parquet file to write')
    .option('--clear', 'personal values as they are on the topics')
    .addHelpText('after', help)
  addPrivacyOptions(addEvidenceOptions(command, parseTime, parseNatural)).action(audit)
}

async function audit(eventId: string | undefined, options: AuditCommandOptions): Promise<void> {
  if (eventId === 'export') return exportPeriod(options)
  if ((eventId === undefined) === (options.sample === undefined)) throw new HarrierError('USAGE', 'an event id or --sample is wanted, and not both', { remedy: 'harrier audit <event id>, or harrier audit --sample 1000' })
  const stop = new AbortController()
  process.on('SIGINT', () => (stop.signal.aborted ? process.exit(130) : stop.abort()))
  const progress = terminalProgress(process.stderr, systemClock)
  const show = (text: string): void => progress.onProgress(text, 'tick')
  const privacyKeys = privacyKeysOf(options)
  const looked = (scanned: number, of: number): void => show(`${scanned.toLocaleString('en')} of ${of.toLocaleString('en')} scored events looked at`)
  const { log, topology, namespace, models, logger, topologyOf, close } = await openEvidence(options)
  let all: Audited[]
  try {
    const { scored: topic } = topologyNames(topology.chain.at(-1)!, namespace)
    const { partition, at: atMs, scanMax } = options
    const events = eventId === undefined
      ? await sampleScored(log, { topic, partition, count: options.sample!, seed: options.seed, signal: stop.signal })
      : [await findScored(log, { topic, eventId, otherIds: idsOnTopic(eventId, topology, privacyKeys), partition, atMs, scanMax, signal: stop.signal, onProgress: looked })]
    if (events.length === 0) throw noScoredEvents(topic)
    all = await auditEvents(events, { log, topology, topologyOf, namespace, models, device: options.device, privacyKeys, clock: systemClock, logger, signal: stop.signal, onProgress: show })
  } catch (error) {
    if (stop.signal.aborted) process.exit(130)
    // Not even the scored event: nothing of it is shown.
    if (!(error instanceof Unavailable)) throw error
    const verdict = { kind: 'unavailable', why: error.message } as const
    progress.end()
    process.stdout.write(options.json ? `${JSON.stringify({ verdict })}\n` : `verdict  unavailable: ${error.message}\n`)
    process.exit(verdictExitCodes[verdict.kind])
  } finally {
    progress.end()
    await close()
  }
  if (!options.clear) all = all.map((each) => maskedAudit(each, topology))
  process.stdout.write(options.json ? `${JSON.stringify(eventId === undefined ? summaryOf(all) : asJson(all[0]!))}\n` : `${eventId === undefined ? sampleText(all) : auditText(all[0]!)}\n`)
  // The gravest of them has the smallest code.
  const codes = all.map(({ verdict }) => verdictExitCodes[verdict.kind]).filter((code) => code > 0)
  process.exit(codes.length === 0 ? 0 : Math.min(...codes))
}

function summaryOf(all: readonly Audited[]): { audited: number; verdicts: Record<VerdictKind, number>; problems: object[] } {
  const verdicts: Record<VerdictKind, number> = { equal: 0, 'within-tolerance': 0, differs: 0, unavailable: 0, erased: 0 }
  for (const { verdict } of all) verdicts[verdict.kind]++
  return { audited: all.length, verdicts, problems: all.filter(({ verdict }) => verdict.kind === 'differs' || verdict.kind === 'unavailable').map(({ event, verdict }) => ({ eventId: event.eventId, task: event.task, sequence: event.sequence, verdict })) }
}

/** Problems that are listed one by one. */
const listedMax = 20

function sampleText(all: readonly Audited[]): string {
  const { verdicts } = summaryOf(all)
  const words: Record<VerdictKind, string> = { equal: 'bit-equal', 'within-tolerance': 'within tolerance on another device class', differs: 'NOT the score that comes out', unavailable: 'unavailable', erased: 'of erased entities' }
  const largest = Math.max(0, ...all.map(({ verdict }) => (verdict.kind === 'within-tolerance' ? verdict.largestDifference : 0)))
  const lines = [`${all.length.toLocaleString('en')} scores audited`]
  for (const kind of Object.keys(words) as VerdictKind[]) if (verdicts[kind] > 0) lines.push(`${verdicts[kind].toLocaleString('en').padStart(8)}  ${words[kind]}${kind === 'within-tolerance' ? `, largest difference ${largest}` : ''}`)
  const problems = all.filter(({ verdict }) => verdict.kind === 'differs' || verdict.kind === 'unavailable')
  for (const { event, verdict } of problems.slice(0, listedMax)) lines.push(`event ${event.eventId}: ${verdict.kind === 'differs' ? verdict.what.join('; ') : verdict.kind === 'unavailable' ? verdict.why : ''}`)
  if (problems.length > listedMax) lines.push(`and ${problems.length - listedMax} more; --json names them all`)
  return lines.join('\n')
}

/** Maps as objects. */
function asJson({ event, verdict, replayed, basis }: Audited): object {
  return { event, verdict, basis, ...(replayed ? { scores: Object.fromEntries(replayed.scores), decision: replayed.decision, features: Object.fromEntries(replayed.features), stateDigest: replayed.stateDigest, deviceClass: replayed.deviceClass } : {}) }
}

async function exportPeriod(options: AuditCommandOptions): Promise<void> {
  const { since: sinceMs, until: untilMs, by, out } = options
  if (sinceMs === undefined || untilMs === undefined || out === undefined) throw new HarrierError('USAGE', 'an export needs --since, --until and --out', { remedy: 'harrier audit export --since 2024-03-01 --until 2024-04-01 --out march.parquet' })
  const progress = terminalProgress(process.stderr, systemClock)
  const { log, topology, namespace, close } = await openEvidence(options)
  try {
    const names = topologyNames(topology.chain.at(-1)!, namespace)
    const result = await exportEvidence(log, { names, by, sinceMs, untilMs, out, mask: options.clear ? undefined : new RecordMask(topology), onProgress: (text) => progress.onProgress(text, 'tick') })
    const times = result.events === 0 ? await timesOf(log, names.scored) : undefined
    progress.end()
    if (times) process.stderr.write(emptyText(names.scored, by, times))
    else if (result.events === 0) throw noScoredEvents(names.scored)
    const without = result.withoutLineage > 0 ? `${result.withoutLineage.toLocaleString('en')} of them without a lineage record that is kept\n` : ''
    const text = `${result.events.toLocaleString('en')} scored events of ${result.batches.toLocaleString('en')} batches: ${out}\n${without}`
    process.stdout.write(options.json ? `${JSON.stringify({ ...result, out })}\n` : text)
  } finally {
    progress.end()
    await close()
  }
  process.exit(0)
}

function noScoredEvents(topic: string): HarrierError {
  return new HarrierError('NOT_FOUND', `${topic} has no scored events`, { remedy: 'give --topology and --namespace as the engine runs, or --archive' })
}

/** Nothing was scored in the period: most often it is meant by the other of the two times. */
function emptyText(topic: string, by: PeriodBy, times: { recordTimes: TimeRange; eventTimes: TimeRange }): string {
  const of = ({ fromMs, toMs }: TimeRange): string => `${iso(fromMs)} to ${iso(toMs)}`
  return `warning: no event of the period by its ${by}; records of ${topic} are of about ${of(times.recordTimes)} (--by record-time), its events of ${of(times.eventTimes)} (--by event-time)\n`
}
