import type { Command } from 'commander'
import { idsOnTopic } from '../audit/clear-entities.js'
import { provenanceOf } from '../audit/provenance.js'
import { findScored } from '../audit/scored-search.js'
import { systemClock } from '../base/clock.js'
import { topologyNames } from '../topology/names.js'
import { RecordMask } from '../topology/record-mask.js'
import { addEvidenceOptions, openEvidence, type EvidenceOptions } from './evidence-options.js'
import { maskedEvent, provenanceText } from './evidence-text.js'
import { parseNatural, parseTime } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { terminalProgress } from './terminal-progress.js'

/** `harrier lineage`: from a scored event to everything that made it. */
export function register(program: Command): void {
  const command = program
    .command('lineage')
    .description('what made a score: its batch, input offsets, model files, digests, device and engine')
    .argument('<event id>', 'id of a scored event')
    .addHelpText(
      'after',
      `
The newest event with the id is found by looking through the scored topic from its end. On a long topic say where:
  harrier lineage 345912 --at 2024-03-01T10:00Z --partition 2`,
    )
  addPrivacyOptions(addEvidenceOptions(command, parseTime, parseNatural)).action(lineage)
}

async function lineage(eventId: string, options: EvidenceOptions & PrivacyOptions): Promise<void> {
  const progress = terminalProgress(process.stderr, systemClock)
  const { log, topology, namespace, models, close } = await openEvidence(options)
  try {
    const names = topologyNames(topology.chain.at(-1)!, namespace)
    const event = await findScored(log, {
      topic: names.scored,
      eventId,
      otherIds: idsOnTopic(eventId, topology, privacyKeysOf(options)),
      partition: options.partition,
      atMs: options.at,
      scanMax: options.scanMax,
      onProgress: (scanned, of) => progress.onProgress(`${scanned.toLocaleString('en')} of ${of.toLocaleString('en')} scored events looked at`, 'tick'),
    })
    const found = await provenanceOf(log, event, topology, namespace, models)
    const provenance = { ...found, event: maskedEvent(event, new RecordMask(topology)) }
    progress.end()
    process.stdout.write(options.json ? `${JSON.stringify(provenance)}\n` : `${provenanceText(provenance, names.lineage)}\n`)
  } finally {
    progress.end()
    await close()
  }
  process.exit(0)
}
