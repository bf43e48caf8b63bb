import { HarrierError } from '../base/errors.js'
import { modelNameOf } from '../inference/manifest.js'
import type { Release, ReleasedModel } from '../registry/release.js'
import { openProposals } from '../registry/release-rules.js'
import type { Version } from '../registry/stage-releases.js'
import type { Topology } from './load-topology.js'
import type { InForce, ReleaseDesk, Signature } from './release-desk.js'

export const deskActions = ['release', 'rollback', 'canary', 'shadow', 'withdraw', 'validate', 'approve', 'reject'] as const
export type DeskAction = (typeof deskActions)[number]

/** What somebody asks of a stage's desk. */
export interface DeskWish {
  readonly action: DeskAction
  /** name@version; of all but a rollback and a decision about a proposal. */
  readonly model?: string | undefined
  /** Of a canary: above 0 and below 1. */
  readonly share?: number | undefined
  /** Of a decision: the revision of the proposal. */
  readonly revision?: number | undefined
  /** Of a validation: the report's name and sha256. */
  readonly report?: { readonly name: string; readonly sha256: string } | undefined
}

const invalid = (message: string): HarrierError => new HarrierError('REQUEST_INVALID', message)

/** Does it. Errors: REQUEST_INVALID, those of the desk. */
export async function actAtDesk(desk: ReleaseDesk, { action, model, share, revision, report }: DeskWish, signature: Signature): Promise<Release> {
  if (signature.reason.trim() === '') throw invalid('reason is for people: it cannot be empty')
  const named = (): string => {
    if (model === undefined) throw invalid(`${action} needs "model": "<name>@<version>"`)
    // Before anything is looked up: what is not this actor's is not told to be there or not.
    signature.admit?.([modelNameOf(model)])
    return model
  }
  const version = async (): Promise<Version> => {
    const reference = named()
    try {
      return await desk.version(reference)
    } catch (error) {
      // What the error of the folder says is for people on this machine.
      if (error instanceof HarrierError && error.code === 'MODEL_NOT_FOUND') throw new HarrierError('MODEL_NOT_FOUND', `there is no version ${reference}`, { remedy: 'GET /v1/models lists those that are there' })
      throw error
    }
  }
  const proposal = (): number => {
    if (revision === undefined) throw invalid(`${action} needs "revision", that of the proposal`)
    return revision
  }
  const perform: Record<DeskAction, () => Promise<Release>> = {
    release: async () => desk.change({ action: 'release', ...(await version()) }, signature),
    shadow: async () => desk.change({ action: 'shadow', ...(await version()) }, signature),
    canary: async () => {
      const candidate = await version()
      if (share === undefined || !(share > 0 && share < 1)) throw invalid('canary needs "share", above 0 and below 1: 0.05 is 5 % of the entities')
      return desk.change({ action: 'canary', share, ...candidate }, signature)
    },
    withdraw: () => desk.change({ action: 'withdraw', model: named() }, signature),
    rollback: () => desk.change({ action: 'rollback' }, signature),
    validate: async () => {
      const validated = await version()
      if (!report || !/^[0-9a-f]{64}$/.test(report.sha256)) throw invalid('validate needs "report": {"name": …, "sha256": <64 hexadecimal digits>}')
      return desk.validate(validated, { ...signature, details: { ...signature.details, report: report.name, reportSha256: report.sha256 } })
    },
    approve: () => desk.approve(proposal(), signature),
    reject: () => desk.reject(proposal(), signature),
  }
  return await perform[action]()
}

/** What is in force in a stage, as far as somebody may see it. */
export interface StageState {
  readonly topology: string
  readonly stage: string
  readonly revision: number
  readonly models: readonly ReleasedModel[]
  /** What a rollback would bring back; null: nothing, or not for these eyes. */
  readonly rollback: string | null
  /** Versions that fit the stage, in force or not. */
  readonly candidates: readonly string[]
  /** Open ones, oldest first. */
  readonly proposals: readonly Release[]
  readonly rules: { readonly validation: boolean; readonly approval: boolean }
}

export async function stageState(desk: ReleaseDesk, { name, stageName, spec }: Topology, sees: (model: string) => boolean): Promise<StageState> {
  const releases = await desk.releases()
  const { revision, challenger, champion, formerChampion, models, entries } = releases
  const back = challenger ? champion : formerChampion
  return {
    topology: name, stage: stageName, revision, models: models.filter(({ model }) => sees(modelNameOf(model))),
    rollback: back && sees(modelNameOf(back.model)) ? back.model : null,
    candidates: (await desk.candidates()).filter((model) => sees(modelNameOf(model))),
    proposals: seenEntries(openProposals(entries), sees),
    rules: { validation: spec.releases?.validation ?? false, approval: spec.releases?.approval ?? false },
  }
}

/** Entries about models that somebody may see, without the others that were in force beside them. */
export function seenEntries(entries: readonly Release[], sees: (model: string) => boolean): Release[] {
  const seen = (models: readonly ReleasedModel[]): ReleasedModel[] => models.filter(({ model }) => sees(modelNameOf(model)))
  return entries.filter(({ model }) => sees(modelNameOf(model))).map((entry) => ({ ...entry, from: seen(entry.from), to: seen(entry.to) }))
}

/** One entry, and where it is in force. Errors: NOT_FOUND. */
export async function releaseAt(desk: ReleaseDesk, revision: number, sees: (model: string) => boolean): Promise<Release & { readonly inForce: readonly InForce[] }> {
  const found = seenEntries((await desk.releases()).entries, sees).find((entry) => entry.revision === revision)
  if (!found) throw new HarrierError('NOT_FOUND', `there is no revision ${revision}`)
  return { ...found, inForce: await desk.inForce(revision) }
}

/** Does what may fail with words about models that somebody may not see: these are not named. */
export async function withoutOthers<T>(sees: (model: string) => boolean, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof HarrierError)) throw error
    const hidden = (text: string): string => text.replace(/[\w.-]+@[\w.-]+/g, (reference) => (sees(modelNameOf(reference)) ? reference : 'another model'))
    throw new HarrierError(error.code, hidden(error.message), { remedy: hidden(error.remedy), cause: error, ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }) })
  }
}
