import type { Audited } from '../audit/audit.js'
import { stageOfTask, type Provenance } from '../audit/provenance.js'
import type { ScoredEvent } from '../audit/scored-event.js'
import type { Release } from '../registry/release.js'
import type { Topology } from '../topology/load-topology.js'
import { RecordMask } from '../topology/record-mask.js'
import { personalFeatures } from '../topology/stage-fields.js'

/** Lines with a name before each value, aligned. */
export function namedLines(lines: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length))
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value.split('\n').join(`\n${' '.repeat(width + 2)}`)}`).join('\n')
}

export function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/** A scored event as people see it. */
export function maskedEvent(event: ScoredEvent, mask: RecordMask): ScoredEvent {
  return { ...event, eventId: mask.eventId(event.eventId, event.entity), entity: mask.entity(event.entity) }
}

/** What an audit found, as people see it: without the values of features that tell of a personal field. */
export function maskedAudit(audited: Audited, topology: Topology): Audited {
  const event = maskedEvent(audited.event, new RecordMask(topology))
  const { fields, stage } = stageOfTask(topology, event.task)
  const hiddenFeatures = personalFeatures(fields, stage.features)
  const { replayed } = audited
  const features = replayed && new Map([...replayed.features].filter(([name]) => !hiddenFeatures.includes(name)))
  return { ...audited, event, replayed: replayed && { ...replayed, event, features: features! } }
}

/** What made a score, for a person. */
export function provenanceText({ event, lineage, lineageOffset, input, models, release, topology }: Provenance, lineageTopic: string): string {
  const { engine, digests, inputs, counts } = lineage
  const gone = `${inputs[0]!.topic}/${inputs[0]!.partition}: the record is not kept any more`
  const day = `a day that turned: all events of ${event.entity} until ${iso(event.eventTimeMs)}`
  const from = input === 'day' ? day : input ? `${input.topic}/${input.partition} at offset ${input.offset}` : gone
  const same = (is: boolean): string => (is ? `as in ${topology.file}` : `not as in ${topology.file}`)
  return namedLines([
    ['event', `${event.eventId} of ${event.entity}, ${iso(event.eventTimeMs)}${event.late ? ', late' : ''}`],
    ['score', `${event.score} by ${event.model}: ${event.decision}${event.fallback ? ', the fall-back decided' : ''}`],
    ['batch', `${event.task}#${event.sequence}, on ${lineageTopic}/${event.partition} at offset ${lineageOffset}, one of ${counts.scored} scored events`],
    ['input', from],
    ['ranges', inputs.map(({ topic, partition, from, to }) => `${topic}/${partition} [${from}, ${to})`).join('\n')],
    ['models', models.map(({ role, model, sha256, device, failure, file }) => `${role} ${model} on ${device}${failure === null ? '' : `, failed: ${failure}`}\n  sha256 ${sha256}\n  ${file ?? 'in no folder of models with this sha256'}`).join('\n')],
    ['release', release ? releaseText(release) : release === null ? 'none: the models that the topology names' : `revision ${lineage.release}, and the ledger is not kept here; \`harrier models ledger\` says who put it in force, and why`],
    ['features', `${digests.features}, ${same(topology.sameFeatures)}`],
    ['policy', `${digests.policy}, ${same(topology.samePolicy)}`],
    ['layout', `${digests.layout}, ${same(topology.sameLayout)}`],
    ['topology', digests.topology],
    ['stream time', `${iso(lineage.stream_time_before)} to ${iso(lineage.stream_time_after)}`],
    ['engine', `Harrier ${engine.harrier}, Node ${engine.node}, ${engine.device_class}`],
    ...(lineage.tokens.length === 0 ? [] : [['tokens', lineage.tokens.map(({ version, id }) => `under key ${version} (${id})`).join(', and beside them ')] as const]),
    ['transaction', lineage.transactional_id],
  ])
}

function releaseText({ revision, action, model, actor, time, reason, details }: Release): string {
  const approved = details.proposedBy === undefined ? '' : `, proposed by ${details.proposedBy}`
  return `revision ${revision}: ${action} of ${model} by ${actor}${approved}, ${iso(time)}\n${reason}`
}

/** What an audit says about one score, for a person. */
export function auditText({ event, verdict, replayed, basis }: Audited): string {
  const says = {
    equal: () => 'bit-equal: the score on the topic is the score that comes out',
    'within-tolerance': () => (verdict.kind === 'within-tolerance' ? `within tolerance, largest difference ${verdict.largestDifference}\nscored on  ${verdict.scoredOn}\naudited on ${verdict.auditedOn}` : ''),
    differs: () => (verdict.kind === 'differs' ? `NOT the score that comes out\n${verdict.what.join('\n')}` : ''),
    unavailable: () => (verdict.kind === 'unavailable' ? `unavailable: ${verdict.why}` : ''),
    erased: () => 'erased: the entity was forgotten on request, and nothing of it is computed any more',
  }[verdict.kind]()
  const lines: [string, string][] = [
    ['event', `${event.eventId} of ${event.entity}, ${event.task}#${event.sequence}`],
    ['verdict', says],
  ]
  if (replayed) {
    const scores = event.scores.map(({ model, role, score }) => `${role} ${model}  ${score}  again ${replayed.scores.get(model) ?? '-'}`)
    lines.push(
      ['scores', scores.join('\n')],
      ['decision', replayed.decision === undefined ? `${event.decision}; the policy of that time is not at hand, so it was not decided again` : `${event.decision}, again ${replayed.decision}`],
      ['state from', basis!],
      ['features', [...replayed.features].map(([name, value]) => `${name} ${value}`).join('\n')],
      ...(replayed.stateDigest === undefined ? [] : [['state after', `sha256 ${replayed.stateDigest} of ring and hidden states`] as [string, string]]),
    )
  }
  return namedLines(lines)
}
