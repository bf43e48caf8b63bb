import type { ModelRole } from '../inference/scorer.js'

/** What a version does in a stage. The fall-back of a policy is the topology's, not a release's. */
export type ReleasedRole = Exclude<ModelRole, 'fallback'>

/** A model version in force. */
export interface ReleasedModel {
  readonly role: ReleasedRole
  /** name@version */
  readonly model: string
  /** What is released: a file of another sha256 is refused. */
  readonly sha256: string
  /** Part of the events that it decides, 0 to 1. */
  readonly share: number
  /** The revision since which it has its role, and one more: hidden states of another epoch are warmed from the ring. 1: as the topology names it. */
  readonly epoch: number
}

/** Which models score in a stage, by its newest release: the value of `harrier.models`. */
export interface StageModels {
  readonly topology: string
  readonly stage: string
  /** Number of the release in the stage's ledger, from 1. */
  readonly revision: number
  /** Champion first. */
  readonly models: readonly ReleasedModel[]
  readonly actor: string
  readonly reason: string
  /** ms since 1970 */
  readonly time: number
}

export const releaseActions = ['release', 'rollback', 'canary', 'shadow', 'withdraw', 'propose', 'reject', 'validate'] as const
export type ReleaseAction = (typeof releaseActions)[number]

/** One entry of the ledger, `harrier.releases`: nothing in it is ever changed. */
export interface Release {
  readonly topology: string
  readonly stage: string
  /** From 1, without a gap, over all actions of the stage. */
  readonly revision: number
  readonly action: ReleaseAction
  /** name@version that the action is about. */
  readonly model: string
  readonly sha256: string
  /** Who did it. */
  readonly actor: string
  readonly reason: string
  /** ms since 1970 */
  readonly time: number
  /** What was in force before, and what is from here on; equal where the action changes no model. */
  readonly from: readonly ReleasedModel[]
  readonly to: readonly ReleasedModel[]
  /** More to know: the share of a canary, who proposed and approved, what a guardrail measured, the digest of a validation report. */
  readonly details: Readonly<Record<string, string>>
  /** Version of Harrier that wrote the entry. */
  readonly harrier: string
}

/** The key of both topics. */
export function stageKey({ topology, stage }: { readonly topology: string; readonly stage: string }): string {
  return `${topology}/${stage}`
}
