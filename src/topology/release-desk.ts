import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { LineageRecord } from '../codec/lineage-codec.js'
import { RegistryClient } from '../codec/registry-client.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import { modelDigest } from '../inference/manifest.js'
import { modelNameOf } from '../inference/manifest.js'
import { checkModelFiles, type LoadedModel } from '../inference/loaded-model.js'
import type { ModelLibrary } from '../inference/model-store.js'
import { checkModels } from '../inference/scorer-base.js'
import { RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'
import { appendRelease, readReleases, type ReleaseLogOptions } from '../registry/release-ledger.js'
import { releaserTransactionalId, releaseTopicSpecifications } from '../registry/release-topics.js'
import { stageKey, type Release, type ReleaseAction, type ReleasedModel } from '../registry/release.js'
import { approvedChange, checkValidated, needsRules, openProposals, proposalDetails, whyNoRollback, type Breached } from '../registry/release-rules.js'
import { StageReleases, type ReleaseChange, type Version } from '../registry/stage-releases.js'
import { harrierVersion } from './harrier-version.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { modelLibrary, stageCategories, type Models } from './open-scorer.js'
import { namedModels } from './released-models.js'
import { lineageOf } from './task-lineage.js'

export interface ReleaseDeskOptions extends ClusterConnection {
  /** The view of the stage. */
  readonly topology: Topology
  readonly namespace?: string | undefined
  readonly models?: Models
  readonly clock: Clock
  readonly logger: Logger
}

/** Who does something, and why. */
export interface Signature {
  readonly actor: string
  readonly reason: string
  readonly details?: Readonly<Record<string, string>>
  /** Is told the names of the models that an entry is about, or whose role or share it changes; throws when they are none of this actor's business. */
  readonly admit?: (names: readonly string[]) => void
}

/** Where a release came in force in a partition. */
export interface InForce {
  readonly partition: number
  /** Its first batch there, and the first offset of the input in it; null: no batch has been scored since. */
  readonly from: { readonly sequence: number; readonly offset: number; readonly exact: boolean } | null
}

/** Newest lineage records of a partition that are looked through for the first one of a release. */
const lookBackRecords = 64

/** Where model versions of one stage are released, and their ledger is read. */
export class ReleaseDesk {
  readonly #options: ReleaseDeskOptions
  readonly #names: TopologyNames
  readonly #reader: RangeReader
  readonly #registry: RegistryClient
  readonly #partitions: number
  readonly #library: ModelLibrary

  private constructor(options: ReleaseDeskOptions, names: TopologyNames, reader: RangeReader, registry: RegistryClient, partitions: number) {
    this.#options = options
    this.#names = names
    this.#reader = reader
    this.#registry = registry
    this.#partitions = partitions
    this.#library = modelLibrary(options.models)
  }

  /** Connects, and makes the topics of releases where they are missing. Errors: those of the cluster; RELEASE_REFUSED for a stage without models. */
  static async open(options: ReleaseDeskOptions): Promise<ReleaseDesk> {
    const { topology, brokers, security, registryUrl, registrySecurity, clock, logger } = options
    if (topology.stage.models.champion === undefined) {
      const others = topology.chain.filter(({ stage }) => stage.models.champion !== undefined).map(({ stageName }) => stageName)
      throw new HarrierError('RELEASE_REFUSED', `stage ${topology.stageName} of ${topology.name} has no models`, { remedy: `name one of those that have: ${others.join(', ')}` })
    }
    const names = topologyNames(topology, options.namespace)
    const client = { brokers, security, clock, logger, ...connectLimits(options) }
    const partitions = await withAdmin(client, async (admin) => {
      await admin.ensureTopics(releaseTopicSpecifications(names.releaseTopics), { create: true })
      return (await admin.partitionCounts([names.lineage])).get(names.lineage) ?? 0
    })
    const reader = new RangeReader({ ...client, groupId: names.group })
    await reader.start()
    return new ReleaseDesk(options, names, reader, new RegistryClient(registryUrl, { clock, logger, security: registrySecurity }), partitions)
  }

  async close(): Promise<void> {
    await this.#reader.close()
  }

  get #log(): ReleaseLogOptions {
    return { reader: this.#reader, topics: this.#names.releaseTopics, registry: this.#registry }
  }

  get #stage(): { topology: string; stage: string } {
    return { topology: this.#options.topology.name, stage: this.#options.topology.stageName }
  }

  /** What the ledger of the stage comes to. */
  async releases(): Promise<StageReleases> {
    const entries = await readReleases(this.#log, stageKey(this.#stage))
    return new StageReleases(entries, await this.#namedBefore(entries))
  }

  /** A version that fits the stage. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  async version(reference: string): Promise<Version> {
    const model = await this.#library.find(reference)
    checkModelFiles(model)
    this.#checkFit(model)
    return { model: reference, sha256: modelDigest(model.manifest) }
  }

  /** Versions that fit the stage, by their manifests. */
  async candidates(): Promise<string[]> {
    const found: string[] = []
    for (const reference of await this.#library.list()) {
      try {
        this.#checkFit(await this.#library.look(reference))
        found.push(reference)
      } catch {
        // It does not fit, or cannot be read: no candidate.
      }
    }
    return found
  }

  #checkFit(model: LoadedModel): void {
    const { stage } = this.#options.topology
    checkModels([{ model }], { features: stage.features.map(({ name }) => name), categories: stageCategories(stage), window: stage.ring })
  }

  /** Puts a change into the ledger, and in force; or proposes it, where the topology asks for a second person. Errors: RELEASE_REFUSED. */
  async change(change: ReleaseChange, signature: Signature): Promise<Release> {
    const rules = this.#options.topology.spec.releases
    return await this.write((releases) => {
      const to = releases.after(change)
      if (needsRules(change)) {
        if (rules?.validation) checkValidated(releases, change)
        if (rules?.approval) return { action: 'propose', model: change.model, sha256: change.sha256, to: releases.models, details: proposalDetails(change) }
      }
      const about = change.action === 'rollback' ? (releases.challenger ?? to.find(({ role }) => role === 'champion')!) : { sha256: '', ...change }
      const sha256 = about.sha256 || releases.models.find(({ model }) => model === about.model)?.sha256 || ''
      return { action: change.action, model: about.model, sha256, to }
    }, signature)
  }

  /**
   * Rolls back a model that has broken a guardrail; or says why not: it does not decide any more, or it was brought back by a
   * rollback, which a guardrail never undoes. That is looked at in the turn that writes, so that of several who find the same one does it.
   */
  async rollBackBreached(breached: Breached, signature: Signature): Promise<Release | string> {
    // Looked at beforehand, too: a turn to write ends what a person is writing at the moment.
    const before = whyNoRollback(await this.releases(), breached)
    if (before !== undefined) return before
    try {
      return await this.write((releases) => {
        const now = whyNoRollback(releases, breached)
        if (now !== undefined) throw new NothingToRollBack(now)
        const to = releases.after({ action: 'rollback', champion: breached.role === 'champion' })
        const about = breached.role === 'champion' ? to[0]! : releases.challenger!
        return { action: 'rollback', model: about.model, sha256: about.sha256, to, details: { rolledBack: breached.model, revision: String(releases.broughtBy(breached)!.revision) } }
      }, signature)
    } catch (error) {
      if (error instanceof NothingToRollBack) return error.message
      throw error
    }
  }

  /** Approves what somebody else has proposed: it is in force from here on. Errors: RELEASE_REFUSED. */
  async approve(revision: number, signature: Signature): Promise<Release> {
    // Before it is the turn of this: a version may have to be fetched.
    const proposed = openProposals((await this.releases()).entries).find((each) => each.revision === revision)
    const version = proposed && (await this.version(proposed.model))
    return await this.write((releases) => {
      const { change, proposal } = approvedChange(releases, revision, signature.actor)
      const { model, sha256 } = version!
      if (sha256 !== proposal.sha256) throw new HarrierError('RELEASE_REFUSED', `${model} has other files than when it was proposed`, { remedy: 'restore the files that were registered' })
      if (this.#options.topology.spec.releases?.validation) checkValidated(releases, proposal)
      return { action: change.action, model, sha256, to: releases.after(change), details: { ...proposal.details, proposal: String(revision), proposedBy: proposal.actor } }
    }, signature)
  }

  /** Decides against a proposal. Errors: RELEASE_REFUSED. */
  async reject(revision: number, signature: Signature): Promise<Release> {
    return await this.write((releases) => {
      const proposal = openProposals(releases.entries).find((each) => each.revision === revision)
      if (!proposal) throw new HarrierError('RELEASE_REFUSED', `revision ${revision} is no open proposal`, { remedy: '`harrier models ledger` shows those that are' })
      return { action: 'reject', model: proposal.model, sha256: proposal.sha256, to: releases.models, details: { proposal: String(revision), proposedBy: proposal.actor } }
    }, signature)
  }

  /** Notes that a version was validated, and by which report. */
  async validate(version: Version, signature: Signature): Promise<Release> {
    return await this.write((releases) => ({ action: 'validate', ...version, to: releases.models }), signature)
  }

  /** One entry after those that are there. `next` is told what these come to. */
  async write(next: (releases: StageReleases) => { action: ReleaseAction; model: string; sha256: string; to: readonly ReleasedModel[]; details?: Readonly<Record<string, string>> }, { actor, reason, details = {}, admit }: Signature): Promise<Release> {
    const { brokers, security, clock, logger } = this.#options
    const stage = this.#stage
    const transactionalId = releaserTransactionalId(this.#names.releaseTopics, stage)
    const producer = new RdkafkaTransactionalProducer({ brokers, security, clock, logger, transactionalId, ...connectLimits(this.#options) })
    const schemaIds = { release: await this.#schemaId('releases', 'release'), stageModels: await this.#schemaId('models', 'stage-models') }
    // The ledger only grows: what is not empty here is not empty in its turn.
    const named = await this.#namedBefore(await readReleases(this.#log, stageKey(stage)))
    return await appendRelease({ ...this.#log, producer, schemaIds }, stageKey(stage), (entries) => {
      const releases = new StageReleases(entries, named)
      const { details: more = {}, ...entry } = next(releases)
      admit?.(namesAbout(entry.model, releases.models, entry.to))
      return { ...stage, revision: releases.revision + 1, ...entry, from: releases.models, actor, reason, time: clock.nowMs(), details: { ...details, ...more }, harrier: harrierVersion }
    })
  }

  /** Where a revision is in force, as the lineage says. */
  async inForce(revision: number): Promise<InForce[]> {
    const found: InForce[] = []
    for (let partition = 0; partition < this.#partitions; partition++) {
      const records = await lineageOf({ reader: this.#reader, names: this.#names, registry: this.#registry }, { name: this.#names.task(partition), partition }, { count: lookBackRecords, settled: false })
      found.push({ partition, from: firstOf(records, revision) })
    }
    return found
  }

  /** What was in force before the first entry: needed only where there is none, so that a rollback needs no model at hand. Errors: those of the models. */
  async #namedBefore(entries: readonly Release[]): Promise<ReleasedModel[]> {
    if (entries.length > 0) return []
    const { topology } = this.#options
    const { champion, shadows } = topology.stage.models
    const digests = new Map<string, string>()
    for (const reference of [champion, ...shadows].filter((each) => each !== undefined)) digests.set(reference, modelDigest((await this.#library.look(reference)).manifest))
    return namedModels(topology, (reference) => digests.get(reference)!)
  }

  async #schemaId(topic: 'releases' | 'models', name: 'release' | 'stage-models'): Promise<number> {
    const subject = `${this.#names.releaseTopics[topic]}-value`
    const schema = loadOwnSchema(name)
    if (this.#options.topology.spec.schemas?.register !== false) return await this.#registry.register(subject, schema)
    const found = await this.#registry.lookup(subject, schema)
    if (found) return found.id
    throw new HarrierError('SCHEMA_INVALID', `${name}.avsc is not under subject ${subject}, and schemas.register is false`, { remedy: `register it; \`harrier topology schemas ${this.#options.topology.file} --out <folder>\` writes it` })
  }
}

class NothingToRollBack extends Error {}
/** Names of the model that an entry is about, and of those whose role or share it changes. */
function namesAbout(model: string, from: readonly ReleasedModel[], to: readonly ReleasedModel[]): string[] {
  const has = (models: readonly ReleasedModel[], { role, model: wanted, share }: ReleasedModel): boolean => models.some((each) => each.role === role && each.model === wanted && each.share === share)
  const changed = [...from.filter((each) => !has(to, each)), ...to.filter((each) => !has(from, each))]
  return [...new Set([model, ...changed.map((each) => each.model)].map(modelNameOf))]
}

function firstOf(records: readonly LineageRecord[], revision: number): InForce['from'] {
  const at = records.findIndex(({ release }) => release >= revision)
  const first = records[at]
  return first ? { sequence: first.sequence, offset: first.inputs[0]!.from, exact: at > 0 || first.sequence === 0 } : null
}
