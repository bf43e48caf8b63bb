import { HarrierError } from '../base/errors.js'
import { newestSeal, tokensInForce, type PrivacyKeys } from '../privacy/privacy-keys.js'
import type { SealKey } from '../privacy/sealed-letter.js'
import type { TokenKey, TokenKeyName } from '../privacy/tokeniser.js'
import type { Topology } from './load-topology.js'

/** The keys that the outputs of a stage are written with. */
export interface OutputPrivacy {
  readonly tokens?: readonly TokenKey[]
  readonly seal?: SealKey
}

/** Errors: PRIVACY_KEY_MISSING where the topology needs keys and there are none. */
export function outputPrivacy(topology: Topology, keys: PrivacyKeys | undefined): OutputPrivacy {
  const last = topology.chain.at(-1)!
  const seals = topology.spec.privacy?.deadLetters === 'encrypted'
  const needs = [...(last.personal?.tokens ? [`tokens of ${[...last.personal.domains.keys()].join(', ')}`] : []), ...(seals ? ['encrypted dead letters'] : [])]
  if (needs.length === 0) return {}
  if (!keys) throw new HarrierError('PRIVACY_KEY_MISSING', `topology ${topology.name} writes ${needs.join(' and ')}, and no keys are at hand`)
  return { ...(topology.personal?.tokens && !topology.forward ? { tokens: tokensInForce(keys) } : {}), ...(seals ? { seal: newestSeal(keys) } : {}) }
}

/**
 * Whether tokens of this process join those of the task's last batch: they have a key in common. So no restart with other keys breaks a
 * join unseen. Errors: PRIVACY_KEY_MISSING.
 */
export function checkTokensJoin(task: string, before: readonly TokenKeyName[], own: readonly TokenKeyName[] | undefined): void {
  if (before.length === 0 || own === undefined || own.length === 0) return
  const named = (keys: readonly TokenKeyName[]): string => keys.map(({ version, id }) => `${version} (${id})`).join(' and ')
  for (const { version, id } of own) {
    const other = before.find((each) => each.version === version && each.id !== id)
    if (other) throw new HarrierError('PRIVACY_KEY_MISSING', `task ${task}: key ${version} of tokens is ${id} here and was ${other.id} in its last batch: the same values would get other tokens`, { remedy: 'give the file of keys with which the topology ran' })
  }
  if (own.some(({ version }) => before.some((each) => each.version === version))) return
  throw new HarrierError('PRIVACY_KEY_MISSING', `task ${task}: tokens of its last batch are under key ${named(before)}, and ${named(own)} would follow: nothing would join them`, {
    remedy: 'give the file of keys with which the topology ran; a rotation keeps the version before in force until `harrier privacy retire`, and every process runs with both in between',
  })
}
