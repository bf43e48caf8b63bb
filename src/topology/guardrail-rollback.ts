import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Breached } from '../registry/release-rules.js'
import type { Release, StageModels } from '../registry/release.js'
import { breachText, Guardrails, type Breach, type BreachOutcome } from './guardrails.js'
import { ReleaseDesk, type ReleaseDeskOptions, type Signature } from './release-desk.js'

/** Tries to write a rollback, after 0.5 s, 1 s, 2 s … of waiting; then the next block of events is judged. */
const triesMax = 6
const waitMsMin = 500

/** Who rolls back by itself. */
export const guardrailActor = 'guardrail'

/** What it takes of a release desk. */
export interface RollbackDesk {
  rollBackBreached(breached: Breached, signature: Signature): Promise<Release | string>
  close(): Promise<void>
}

export interface GuardrailRollbackOptions {
  readonly openDesk: () => Promise<RollbackDesk>
  readonly windowMs: number
  readonly instanceId: string
  readonly clock: Clock
  readonly logger: Logger
  readonly signal?: AbortSignal | undefined
}

/**
 * Puts the rollback of a breach into the ledger. Of several processes that find the same, one writes: what is in the ledger by then
 * is looked at again in the turn that writes, and a model that does not decide any more is not rolled back.
 */
export async function rollBack(breach: Breach, { openDesk, windowMs, instanceId, clock, logger, signal }: GuardrailRollbackOptions): Promise<BreachOutcome> {
  const { guardrail, decider, measured, limit, before, events, sinceMs } = breach
  const reason = breachText(breach)
  logger.log('error', 'a guardrail is broken', { guardrail, model: decider.model, role: decider.role, measured, limit, before, events })
  const details = {
    guardrail, measured: String(measured), limit: String(limit), events: String(events), instance: instanceId, ...(Number.isNaN(before) ? {} : { before: String(before) }),
  }
  for (let tried = 1; signal?.aborted !== true; tried++) {
    try {
      const desk = await openDesk()
      try {
        const done = await desk.rollBackBreached({ ...decider, sinceMs, windowMs }, { actor: guardrailActor, reason, details })
        if (typeof done === 'string') logger.log('warn', 'a guardrail is broken, and nothing is rolled back', { guardrail, model: decider.model, cause: done })
        else logger.log('warn', 'rolled back by a guardrail', { revision: done.revision, champion: done.to[0]?.model, reason })
        return 'settled'
      } finally {
        await desk.close()
      }
    } catch (error) {
      const remedy = error instanceof HarrierError ? error.remedy : undefined
      if (tried >= triesMax) {
        logger.log('error', 'a rollback by a guardrail could not be written', { guardrail, model: decider.model, tries: tried, cause: messageOf(error), remedy })
        return 'again'
      }
      logger.log('warn', 'a rollback by a guardrail is written again', { guardrail, model: decider.model, tries: tried, cause: messageOf(error), remedy })
      await clock.sleep(waitMsMin << (tried - 1), signal)
    }
  }
  return 'settled'
}

/** The guardrails of a stage, as its topology has them; undefined: it has none. `released`: what is in force at the start. */
export function guardrailsOf(options: ReleaseDeskOptions & { readonly instanceId: string; readonly signal?: AbortSignal | undefined }, released: StageModels | undefined): Guardrails | undefined {
  const { topology, instanceId, clock, logger, signal } = options
  const spec = topology.spec.releases?.guardrails
  if (!spec) return undefined
  const openDesk = (): Promise<RollbackDesk> => ReleaseDesk.open(options)
  const guardrails = new Guardrails({ spec, decides: topology.forward === undefined, onBreach: (breach) => rollBack(breach, { openDesk, windowMs: spec.window, instanceId, clock, logger, signal }) })
  if (released) guardrails.released(released)
  return guardrails
}
