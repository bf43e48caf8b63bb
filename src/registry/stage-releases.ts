import { HarrierError } from '../base/errors.js'
import type { Release, ReleasedModel } from './release.js'

/** The epoch of models that a topology file names. */
export const fileEpoch = 1
/** Challengers and shadows that score beside a champion: each costs about what the champion costs. */
export const releasedModelsMax = 10

/** A version and the digest of its files. */
export interface Version {
  readonly model: string
  readonly sha256: string
}

/** What somebody wants to be in force. */
export type ReleaseChange =
  | ({ readonly action: 'release' } & Version)
  /** `share`: part of the events that it decides, above 0 and below 1. */
  | ({ readonly action: 'canary'; readonly share: number } & Version)
  | ({ readonly action: 'shadow' } & Version)
  /** A challenger or a shadow that scores no more. */
  | { readonly action: 'withdraw'; readonly model: string }
  /** A challenger goes; without one the last champion comes back. `champion`: it comes back either way, and the challenger goes. */
  | { readonly action: 'rollback'; readonly champion?: boolean }

/** What the ledger of a stage comes to. */
export class StageReleases {
  /** Entries so far; the next one has one more. */
  readonly revision: number
  /** What is in force. */
  readonly models: readonly ReleasedModel[]
  readonly entries: readonly Release[]
  /** Champions that a rollback goes back to, the last one last. */
  readonly #formerChampions: readonly ReleasedModel[]

  /** `entries` of one stage, oldest first; `named`: the models of the topology file, which are in force until something is released. */
  constructor(entries: readonly Release[], named: readonly ReleasedModel[]) {
    const last = entries.at(-1)
    this.entries = entries
    this.revision = last?.revision ?? 0
    this.models = last?.to ?? named
    const former: ReleasedModel[] = []
    for (const { action, from, to } of entries) {
      const before = championOf(from)
      if (!before || before.model === championOf(to)?.model) continue
      // Going back takes it off the list: a second rollback goes back further, not forth again.
      if (action === 'rollback') former.pop()
      else former.push(before)
    }
    this.#formerChampions = former
  }

  get champion(): ReleasedModel | undefined {
    return championOf(this.models)
  }

  get challenger(): ReleasedModel | undefined {
    return this.models.find(({ role }) => role === 'challenger')
  }

  /** The version that a rollback would bring back; undefined: there is none. */
  get formerChampion(): ReleasedModel | undefined {
    return this.#formerChampions.at(-1)
  }

  /** The entry by which a model has decided without a break until now; undefined: it does not, or has since before the ledger. */
  broughtBy({ role, model, epoch, share }: Pick<ReleasedModel, 'role' | 'model' | 'epoch' | 'share'>): Release | undefined {
    const has = (models: readonly ReleasedModel[]): boolean => models.some((each) => each.role === role && each.model === model && each.epoch === epoch && (role === 'champion' || each.share === share))
    if (!has(this.models)) return undefined
    return this.entries.findLast(({ from, to }) => has(to) && !has(from))
  }

  /** The models after a change, champion first. Errors: RELEASE_REFUSED when the change cannot be, or changes nothing. */
  after(change: ReleaseChange): ReleasedModel[] {
    const { champion, challenger } = this
    const shadows = this.models.filter(({ role }) => role === 'shadow')
    const refuse = (message: string, remedy: string): never => {
      throw new HarrierError('RELEASE_REFUSED', message, { remedy })
    }
    switch (change.action) {
      case 'release':
        if (champion?.model === change.model && champion.sha256 === change.sha256 && !challenger) refuse(`${change.model} is the champion already`, 'nothing is to be done')
        return this.#composed(change, undefined, shadows)
      case 'canary':
        if (!champion) return refuse('the stage has no champion to compare a canary with', 'release one first')
        if (champion.model === change.model) refuse(`${change.model} is the champion: it decides all events already`, 'name another version')
        if (challenger?.model === change.model && challenger.share === change.share) refuse(`${change.model} decides ${change.share * 100} % already`, 'nothing is to be done')
        return this.#composed(champion, change, shadows)
      case 'shadow':
        if (this.models.some(({ model }) => model === change.model)) refuse(`${change.model} is ${this.models.find(({ model }) => model === change.model)!.role} already: it scores every event`, 'nothing is to be done')
        return this.#composed(champion, challenger, [...shadows, change])
      case 'withdraw': {
        const found = this.models.find(({ model }) => model === change.model)
        if (!found) return refuse(`${change.model} is not in force here: ${this.#text()}`, 'name one of these')
        if (found.role === 'champion') return refuse(`${change.model} is the champion: somebody has to decide`, 'release another version, or `harrier models rollback`')
        return this.#composed(champion, found === challenger ? undefined : challenger, shadows.filter((each) => each !== found))
      }
      case 'rollback': {
        if (challenger && !change.champion) return this.#composed(champion, undefined, this.#wasShadow(challenger) ? [...shadows, challenger] : shadows)
        const { formerChampion } = this
        if (!formerChampion) return refuse(`there is no earlier champion than ${champion?.model ?? 'none'}`, '`harrier models release` puts any version in force')
        return this.#composed(formerChampion, undefined, shadows)
      }
    }
  }

  /** What the challenger was before it was tried. */
  #wasShadow({ model }: Version): boolean {
    const tried = this.entries.findLast(({ from }) => !from.some((each) => each.role === 'challenger' && each.model === model))
    return tried?.from.some((each) => each.role === 'shadow' && each.model === model) ?? false
  }

  /** Who keeps its role keeps its epoch, and with it its hidden states; all others begin from the ring. */
  #composed(champion: Version | undefined, challenger: (Version & { readonly share: number }) | undefined, shadows: readonly Version[]): ReleasedModel[] {
    const epochOf = (role: ReleasedModel['role'], { model, sha256 }: Version): number =>
      this.models.find((each) => each.role === role && each.model === model && each.sha256 === sha256)?.epoch ?? this.revision + 1 + fileEpoch
    const entry = (role: ReleasedModel['role'], version: Version, share: number): ReleasedModel => ({ role, model: version.model, sha256: version.sha256, share, epoch: epochOf(role, version) })
    const taken = new Set([champion?.model, challenger?.model])
    const models = [
      ...(champion ? [entry('champion', champion, 1 - (challenger?.share ?? 0))] : []),
      ...(challenger ? [entry('challenger', challenger, challenger.share)] : []),
      ...shadows.filter(({ model }) => !taken.has(model)).map((version) => entry('shadow', version, 0)),
    ]
    if (models.length > releasedModelsMax) {
      throw new HarrierError('RELEASE_REFUSED', `${models.length} models would score every event, at most ${releasedModelsMax} may`, { remedy: '`harrier models withdraw` takes one away' })
    }
    return models
  }

  #text(): string {
    return this.models.map(({ model, role }) => `${model} ${role}`).join(', ') || 'nothing is'
  }
}

function championOf(models: readonly ReleasedModel[]): ReleasedModel | undefined {
  return models.find(({ role }) => role === 'champion')
}
