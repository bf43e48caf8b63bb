import type { Prng } from '../../src/base/prng.js'
import { HarrierError } from '../../src/base/errors.js'
import type { ModelUse } from '../../src/inference/scorer.js'
import { fileEpoch, StageReleases, type ReleaseChange, type Version } from '../../src/registry/stage-releases.js'
import type { Release, ReleasedModel, StageModels } from '../../src/registry/release.js'
import type { ReleaseSource } from '../../src/topology/model-turns.js'
import { simulatedModel } from './simulated-scorer.js'

const versions = [1, 2, 3, 4]
const stage = { topology: 'small', stage: 'customer' }

function versionOf(version: number): Version {
  const { reference, manifest } = simulatedModel(version)
  return { model: reference, sha256: manifest.sha256 }
}

const named: readonly ReleasedModel[] = [{ role: 'champion', ...versionOf(1), share: 1, epoch: fileEpoch }]

/** What a topology file and the ledger say is in force. */
export function usesOf(models: readonly ReleasedModel[]): ModelUse[] {
  return models.map(({ role, model, epoch, share }) => ({ model: simulatedModel(Number(model.split('@')[1])), role, epoch, share }))
}

/** Releases at random, as people make them; every process hears of them a little later. */
export class SimulatedReleases {
  readonly entries: Release[] = []
  readonly #prng: Prng

  constructor(prng: Prng) {
    this.#prng = prng
  }

  /** Something that may be; what may not changes nothing. */
  releaseSomething(nowMs: number): string {
    const prng = this.#prng
    const version = versionOf(versions[prng.below(versions.length)]!)
    const changes: ReleaseChange[] = [
      { action: 'release', ...version },
      { action: 'release', ...version },
      { action: 'canary', ...version, share: [0.1, 0.5][prng.below(2)]! },
      { action: 'shadow', ...version },
      { action: 'withdraw', model: version.model },
      { action: 'rollback' },
      { action: 'rollback' },
    ]
    const change = changes[prng.below(changes.length)]!
    const before = new StageReleases(this.entries, named)
    try {
      const to = before.after(change)
      this.entries.push({ ...stage, revision: before.revision + 1, action: change.action, ...version, actor: 'somebody', reason: 'why not', time: nowMs, from: before.models, to, details: {}, harrier: 'test' })
      return `revision ${before.revision + 1}: ${change.action} ${version.model}: ${to.map(({ model, role }) => `${model} ${role}`).join(', ')}`
    } catch (error) {
      if (error instanceof HarrierError && error.code === 'RELEASE_REFUSED') return `refused: ${error.message}`
      throw error
    }
  }

  /** The models of a revision; 0: the topology's. */
  at(revision: number): readonly ReleasedModel[] {
    return revision === 0 ? named : this.entries[revision - 1]!.to
  }

  get newest(): { revision: number; models: readonly ReleasedModel[] } {
    return { revision: this.entries.length, models: this.at(this.entries.length) }
  }

  /** As one process sees them. */
  source(): ReleaseSource {
    let told = 0
    return {
      poll: () => {
        const last = this.entries.at(-1)
        if (!last || last.revision === told) return Promise.resolve(undefined)
        told = last.revision
        const released: StageModels = { ...stage, revision: last.revision, models: last.to, actor: last.actor, reason: last.reason, time: last.time }
        return Promise.resolve(released)
      },
      close: () => Promise.resolve(),
    }
  }
}
