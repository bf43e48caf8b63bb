import { HarrierError } from '../base/errors.js'
import type { Release, ReleasedModel } from './release.js'
import type { ReleaseChange, StageReleases, Version } from './stage-releases.js'

/** What a topology asks of a release. */
export interface ReleaseRules {
  readonly validation: boolean
  readonly approval: boolean
}

/** Changes by which a version gets to decide. Shadows decide nothing, and a way back never waits. */
export function needsRules(change: ReleaseChange): change is Extract<ReleaseChange, { action: 'release' | 'canary' }> {
  return change.action === 'release' || change.action === 'canary'
}

/** Errors: RELEASE_REFUSED when the ledger has no validation record of this very version. */
export function checkValidated({ entries }: StageReleases, { model, sha256 }: Version): void {
  if (entries.some((entry) => entry.action === 'validate' && entry.model === model && entry.sha256 === sha256)) return
  throw new HarrierError('RELEASE_REFUSED', `${model} has no validation record in the ledger of this stage, and the topology asks for one`, {
    remedy: `\`harrier models validate ${model} --report <file> --reason …\` puts one there`,
  })
}

/** A proposal as the ledger keeps it. */
export function proposalDetails(change: ReleaseChange): Readonly<Record<string, string>> {
  return { change: change.action, ...(change.action === 'canary' ? { share: String(change.share) } : {}) }
}

/**
 * The change that a proposal asks for, if this person may approve it now. Errors: RELEASE_REFUSED: there is no such proposal, it was
 * decided already, the proposer approves it himself, or something else has been released since.
 */
export function approvedChange({ entries }: StageReleases, revision: number, actor: string): { change: ReleaseChange; proposal: Release } {
  const proposal = entries.find((entry) => entry.revision === revision && entry.action === 'propose')
  const refuse = (message: string, remedy: string): never => {
    throw new HarrierError('RELEASE_REFUSED', message, { remedy })
  }
  if (!proposal) {
    const open = openProposals(entries).map(({ revision: each, model }) => `${each} (${model})`)
    return refuse(`revision ${revision} is no proposal`, open.length > 0 ? `these are open: ${open.join(', ')}` : 'there is none')
  }
  const decided = entries.find(({ details }) => details['proposal'] === String(revision))
  if (decided) refuse(`proposal ${revision} was decided already: revision ${decided.revision}, ${decided.action} by ${decided.actor}`, 'propose it again if it is still wanted')
  if (proposal.actor === actor) refuse(`${actor} has proposed revision ${revision}: somebody else has to approve it`, 'ask a colleague')
  const since = entries.find((entry) => entry.revision > revision && entry.from !== entry.to && JSON.stringify(entry.from) !== JSON.stringify(entry.to))
  if (since) refuse(`since proposal ${revision} other models came in force, by revision ${since.revision} (${since.action} ${since.model})`, 'propose it again: it was meant for what was in force then')
  const { model, sha256, details } = proposal
  const change: ReleaseChange = details['change'] === 'canary' ? { action: 'canary', model, sha256, share: Number(details['share']) } : { action: 'release', model, sha256 }
  return { change, proposal }
}

/** Proposals that nobody has decided, oldest first. */
export function openProposals(entries: readonly Release[]): Release[] {
  const decided = new Set(entries.flatMap(({ details }) => details['proposal'] ?? []))
  return entries.filter(({ action, revision }) => action === 'propose' && !decided.has(String(revision)))
}

/** A model that has broken a guardrail. */
export interface Breached extends Pick<ReleasedModel, 'role' | 'model' | 'epoch' | 'share'> {
  /** Oldest timestamp of the records that show it, ms since 1970. */
  readonly sinceMs: number
  /** For how long after its release that counts. */
  readonly windowMs: number
}

/** Why a guardrail leaves a model where it is; undefined: it does not. */
export function whyNoRollback(releases: StageReleases, breached: Breached): string | undefined {
  const { role, model, sinceMs, windowMs } = breached
  const brought = releases.broughtBy(breached)
  if (!brought) return releases.models.some((each) => each.role === role && each.model === model) ? `${model} is ${role} by another release` : `${model} is not ${role} any more`
  const { action, revision, actor, time } = brought
  if (action !== 'release' && action !== 'canary') return `${model} came back by a ${action} (revision ${revision}, ${actor}): a guardrail undoes releases and canaries only`
  if (sinceMs >= time + windowMs) return `revision ${revision} is further back than the window of the guardrails`
  return undefined
}
