import avro from 'avsc'
import type { Clock } from '../../src/base/clock.js'
import { silentLogger, type Logger } from '../../src/base/logger.js'
import { Prng } from '../../src/base/prng.js'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { Engine } from '../../src/topology/engine.js'
import { ModelTurns } from '../../src/topology/model-turns.js'
import { topologyNames } from '../../src/topology/names.js'
import { Changelog } from '../../src/topology/changelog.js'
import { Standby } from '../../src/topology/standby.js'
import { publishesEarly } from '../../src/topology/delivery.js'
import { Outputs, type OutputOptions } from '../../src/topology/outputs.js'
import { TaskRestorer } from '../../src/topology/restore.js'
import { Stage } from '../../src/topology/stage.js'
import { MemoryRegistry } from '../../src/topology/test-driver.js'
import { endedDays, frameRowsMax, sweepSegments } from '../../src/topology/day-calendar.js'
import type { Topology } from '../../src/topology/load-topology.js'
import { smallTopology, startMs } from '../topology/card-events.js'
import { daysTopology } from '../topology/day-topologies.js'
import { MemoryBroker, type MemoryRecord } from './memory-broker.js'
import { MemoryGroup } from './memory-group.js'
import { SimulatedConsumer, SimulatedProducer, SimulatedPublisher, SimulatedReader, type CommitFault, type ProcessWorld, type PublishFault } from './simulated-kafka.js'
import { SimulatedProcess } from './simulated-process.js'
import { SimulatedReleases, usesOf } from './simulated-releases.js'
import { SimulatedScorer } from './simulated-scorer.js'
import { tellAgain } from './told-again.js'
import { VirtualClock } from './virtual-clock.js'

export interface SimulationOptions {
  readonly seed: number
  /** False: one process, nothing fails. The input is the same. */
  readonly faults: boolean
  /** Models are released, rolled back, tried and withdrawn all the while. */
  readonly releases?: boolean
  /** What runs: a score for each event, the same before its transaction, or a score for each entity and day. Default: `events`. */
  readonly topology?: keyof typeof topologies
}

export interface SimulationResult {
  readonly problems: readonly string[]
  /** Content of the output of each input, by `partition/offset`, and of each turned day, by `partition/event`. */
  readonly contents: ReadonlyMap<string, string>
  readonly faults: Readonly<Record<string, number>>
  readonly trace: readonly string[]
}

const partitions = 3
const records = 240
/** Few entities come again in each batch, many are new in each. */
const customersOf = [9, 40, 4]
/** One event in so many comes up to a week after the last: entities expire now and then, or all the time. */
const leapsOf = [10, 4]
const faultyMs = 6000
const sessionMs = 700
/** Virtual time in which all must be committed once nothing fails any more. */
const settleMsMax = 120_000

const limits = 'batchRecordsMax: 12, checkpointIntervalMs: 300ms, checkpointBytesMax: 4096, abortsInARowMax: 1000'
const topologies = {
  events: smallTopology({ ttl: '5d', limits }),
  early: smallTopology({ ttl: '5d', limits: `${limits}, earlyBatchesMax: 3`, delivery: 'atLeastOnce' }),
  days: daysTopology({ ring: 4, ttl: '6d', events: ', events: { field: amount, from: 60000 }', limits: `${limits}, turnedPerBatchMax: 16` }),
} satisfies Record<string, Topology>
const types = {
  transaction: avro.Type.forSchema(loadOwnSchema('transaction') as avro.Schema),
  scored: avro.Type.forSchema(loadOwnSchema('scored-event') as avro.Schema),
  lineage: avro.Type.forSchema(loadOwnSchema('lineage') as avro.Schema),
}

/** One run of the engine's coroutines under a seeded schedule of faults, over virtual Kafka and virtual time. */
export class Simulation {
  readonly #clock = new VirtualClock()
  readonly #prng: Prng
  readonly #broker: MemoryBroker
  readonly #group: MemoryGroup
  readonly #registry = new MemoryRegistry()
  readonly #options: SimulationOptions
  readonly #topology: Topology
  readonly #names: ReturnType<typeof topologyNames>
  readonly #inputs: string[][] = Array.from({ length: partitions }, () => [])
  readonly #processes = new Map<string, SimulatedProcess>()
  readonly #trace: string[] = []
  readonly #problems: string[] = []
  readonly #counts: Record<string, number> = {}
  #failing: boolean
  readonly #releases: SimulatedReleases

  constructor(options: SimulationOptions) {
    this.#releases = new SimulatedReleases(new Prng(options.seed + 4))
    this.#options = options
    this.#topology = topologies[options.topology ?? 'events']
    this.#names = topologyNames(this.#topology)
    this.#prng = new Prng(options.seed)
    this.#failing = options.faults
    this.#broker = new MemoryBroker(this.#clock, new Prng(options.seed + 3))
    this.#group = new MemoryGroup(partitions, this.#clock, new Prng(options.seed + 1))
    this.#broker.createTopic(this.#names.input, partitions)
    for (const topic of this.#names.sinks) this.#broker.createTopic(topic, partitions)
  }

  note(what: string): void {
    this.#trace.push(`${String(Math.round(this.#clock.nowMs())).padStart(7)} ms  ${what}`)
  }

  count(fault: string): void {
    this.#counts[fault] = (this.#counts[fault] ?? 0) + 1
  }

  async run(): Promise<SimulationResult> {
    const feeding = this.#feed(new Prng(this.#options.seed + 2))
    let fed = false
    void feeding.then(() => {
      fed = true
    })
    this.#start('a')
    if (this.#options.releases) void this.#release(new Prng(this.#options.seed + 5))
    if (this.#options.faults) {
      if (this.#prng.below(3) === 0) this.#loseRegistry(600)
      this.#start('b')
      void this.#disturb()
      await this.#clock.runUntil(() => !this.#failing, 10 * faultyMs)
    }
    const settled = await this.#clock.runUntil(() => fed && this.#isDrained(), settleMsMax)
    if (!settled) {
      const committed = this.#inputs.map((ids, partition) => `${this.#broker.committed.get(partition) ?? 'none'} of ${ids.length}`)
      this.#problems.push(`not drained after ${settleMsMax} ms: committed ${committed.join(', ')}; ${[...this.#processes.values()].map((each) => each.describe()).join('; ')}`)
    }
    const contents = this.#verify()
    await this.#verifyReleases()
    return { problems: this.#problems, contents, faults: this.#counts, trace: this.#trace }
  }

  /** Part of the input is there before anybody starts, the rest comes while they work. */
  async #feed(prng: Prng): Promise<void> {
    const schema = loadOwnSchema('transaction') as { fields: object[] }
    const evolved = { ...schema, fields: schema.fields.map((field, index) => (index === 0 ? { ...field, doc: 'evolved' } : field)) }
    const ids = [this.#registry.register(schema), this.#registry.register(evolved)]
    let timeMs = startMs
    const leapOneIn = leapsOf[this.#options.seed % leapsOf.length]!
    const customers = customersOf[this.#options.seed % customersOf.length]!
    for (let id = 0; id < records; id++) {
      if (id > records / 4) await this.#clock.sleep(prng.below(50))
      const customer = prng.below(customers)
      timeMs += prng.below(prng.below(leapOneIn) === 0 ? 7 * 86_400_000 : 3_600_000)
      const back = prng.below(5) === 0 ? prng.below(9_000_000) : 0
      const value = { transaction_id: id, event_time: timeMs - back, customer_id: `c${customer}`, terminal_id: 't', amount_minor: prng.below(100_000), currency: 'EUR' }
      const broken = prng.below(25) === 0
      const encoded = (schemaId: number, event: object): Buffer => Buffer.concat([schemaPrefix(schemaId), types.transaction.toBuffer(event)])
      const ahead = { ...value, event_time: timeMs + 30 * 86_400_000 }
      const bytes = broken ? (id % 2 === 0 ? Buffer.from('broken') : encoded(ids[0]!, ahead)) : encoded(ids[id < records / 2 ? 0 : prng.below(2)]!, value)
      const partition = customer % partitions
      this.#inputs[partition]!.push(broken ? `dead ${id}` : String(id))
      this.#broker.appendInput(this.#names.input, partition, { timestampMs: timeMs, key: Buffer.from(`c${customer}`), value: bytes, headers: [] })
    }
  }

  /** Now and then several in a row, so that some are overtaken before they are in force. */
  async #release(prng: Prng): Promise<void> {
    while (this.#clock.nowMs() < faultyMs) {
      await this.#clock.sleep(prng.below(prng.below(3) === 0 ? 100 : 1500))
      const said = this.#releases.releaseSomething(this.#clock.nowMs())
      this.note(said)
      if (said.startsWith('revision')) this.count('release')
    }
  }

  #start(instanceId: string): void {
    if (this.#processes.get(instanceId)?.isRunning) return
    this.note(`${instanceId} starts`)
    this.#processes.set(instanceId, new SimulatedProcess(this, instanceId, this.#prng.uint32()))
  }

  /** Crashes, restarts, ended sessions, stops and a registry that goes away, at random moments. */
  async #disturb(): Promise<void> {
    const prng = this.#prng
    const instances = ['a', 'b', 'c']
    while (this.#clock.nowMs() < faultyMs) {
      await this.#clock.sleep(prng.below(500))
      this.#verifyPositions()
      const instanceId = instances[prng.below(instances.length)]!
      const process = this.#processes.get(instanceId)
      const what = prng.below(6)
      if (!process?.isRunning) this.#start(instanceId)
      else if (what === 0) process.crash('crash')
      else if (what === 1) {
        this.note(`${instanceId}: its session ends while it lives`)
        this.count('lost')
        this.#group.expire(instanceId)
      } else if (what === 2) {
        this.note(`${instanceId} is told to stop`)
        this.count('stop')
        void process.stop()
      } else if (what === 3 && !this.#registry.down) {
        this.#loseRegistry(prng.below(800))
        // A rebalance while schemas are waited for.
        await this.#clock.sleep(prng.below(100))
        if (prng.below(2) === 0) this.#start(instances[prng.below(instances.length)]!)
      }
    }
    this.note('nothing fails any more')
    this.#failing = false
    if (![...this.#processes.values()].some((each) => each.isRunning)) this.#start('a')
  }

  /** What an engine tells of its tasks has committed. */
  #verifyPositions(): void {
    for (const process of this.#processes.values()) {
      const ahead = process.positions().find(({ task, position }) => position > (this.#broker.committed.get(Number(task.split('/').at(-1))) ?? 0))
      if (ahead && process.isRunning) this.problem(`${process.instanceId} tells position ${ahead.position} of ${ahead.task}, which has not committed`)
    }
  }

  #loseRegistry(forMs: number): void {
    this.note('registry down')
    this.count('registry')
    this.#registry.down = true
    void this.#clock.sleep(forMs).then(() => (this.#registry.down = false))
  }

  /** Whoever is gone is started again or leaves the group when its session ends. */
  onGone(process: SimulatedProcess, why: string): void {
    this.note(`${process.instanceId} gone: ${why}`)
    const restartMs = this.#prng.below(2) === 0 ? this.#prng.below(200) : this.#prng.below(4 * sessionMs)
    void this.#clock.sleep(restartMs).then(() => {
      if (this.#processes.get(process.instanceId) === process) this.#start(process.instanceId)
    })
    void this.#clock.sleep(sessionMs).then(() => {
      // The transaction time-out, too: nobody else would end it.
      if (this.#processes.get(process.instanceId) !== process) return
      this.#broker.expireProducer(this.#names.transactionalId(process.instanceId))
    })
    void this.#clock.sleep(sessionMs).then(() => this.#group.expire(process.instanceId, process.consumer))
  }

  nextPublishFault(prng: Prng): PublishFault {
    if (!this.#failing || prng.below(20) !== 0) return 'none'
    const faults: PublishFault[] = ['unpublished', 'unacknowledged', 'crash-published']
    const fault = faults[prng.below(faults.length)]!
    this.count(fault)
    return fault
  }

  nextCommitFault(prng: Prng): CommitFault {
    if (!this.#failing || prng.below(12) !== 0) return 'none'
    const faults: CommitFault[] = ['aborted', 'aborted', 'crash-before', 'crash-after', 'unknown-committed', 'unknown-aborted', 'timed-out']
    const fault = faults[prng.below(faults.length)]!
    this.count(fault)
    return fault
  }

  /** Wires one process as src/topology/open-engine.ts does, over this world. */
  makeEngine(world: ProcessWorld): { engine: Engine; consumer: SimulatedConsumer } {
    const topology = this.#topology
    const { revision, models } = this.#releases.newest
    const scorer = new SimulatedScorer(world.clock, world.prng, { window: topology.stage.ring, rowsMax: Math.max(64, frameRowsMax(topology.stage, 0, topology.spec.limits)) }, usesOf(models), revision)
    const logger: Logger = { log: (level, message, fields) => level !== 'debug' && this.note(`${world.instanceId}: ${message} ${JSON.stringify(fields)}`) }
    const modelTurns = new ModelTurns({ scorer, source: this.#releases.source(), usesOf: (released) => Promise.resolve(usesOf(released.models)), clock: world.clock, logger, limits: { pollMs: 40 } })
    const stage = new Stage(topology, scorer, this.#registry)
    const names = this.#names
    const outputs = new Outputs(stage, this.#outputOptions(world.instanceId))
    const reader = new SimulatedReader(world)
    let consumer: SimulatedConsumer | undefined
    const engine = new Engine({
      stage,
      outputs,
      names,
      clock: world.clock,
      logger,
      modelTurns,
      producer: new SimulatedProducer(world, names.transactionalId(world.instanceId)),
      publisher: publishesEarly(topology) ? new SimulatedPublisher(world) : undefined,
      restorer: new TaskRestorer({ reader, names, registry: { schemaById: () => Promise.resolve(loadOwnSchema('lineage')) }, clock: world.clock, logger: silentLogger, reached: (release, signal) => modelTurns.reached(release, signal) }),
      closeReaders: () => Promise.resolve(),
      startOfInput: () => Promise.resolve(0),
      standby: this.#options.seed % 2 === 0 ? this.#makeStandby(world, stage, reader) : undefined,
      makeConsumer: (handlers) => (consumer = new SimulatedConsumer(world, names.input, handlers)),
    })
    return { engine, consumer: consumer! }
  }

  #outputOptions(instanceId: string): OutputOptions {
    return {
      schemaIds: { scored: 11, alert: 12, lineage: 13 },
      inputTopic: this.#names.input,
      partitions,
      transactionalId: this.#names.transactionalId(instanceId),
      engine: { harrier: 'test', onnxruntime: 'none', node: 'any', device_class: 'simulated' },
    }
  }

  /** Whose partitions are followed changes at random: a wrong guess must cost nothing but time. */
  #makeStandby({ clock, prng }: ProcessWorld, stage: Stage, reader: SimulatedReader): Standby {
    const some = (): Promise<number[]> => Promise.resolve([...Array(partitions).keys()].filter(() => prng.below(2) === 0))
    return new Standby({
      stage,
      clock,
      changelog: new Changelog({ reader, names: this.#names }),
      plan: { wanted: some, wantedBeforeJoining: some, close: () => Promise.resolve() },
      logger: { log: (level, message, fields) => level === 'warn' && this.#problems.push(`standby: ${message} ${JSON.stringify(fields)}`) },
      limits: { pollMs: 20, planMs: 200 },
    })
  }

  get broker(): MemoryBroker {
    return this.#broker
  }

  get group(): MemoryGroup {
    return this.#group
  }

  get clock(): Clock {
    return this.#clock
  }

  problem(text: string): void {
    this.#problems.push(text)
  }

  #isDrained(): boolean {
    const drained = this.#inputs.every((ids, partition) => ids.length === 0 || this.#broker.committed.get(partition) === ids.length) && this.#broker.openTransactions === 0
    return drained && this.#inputs.every((ids, partition) => ids.length === 0 || this.#hasTurned(partition))
  }

  /** All days that have ended are turned, where days turn. */
  #hasTurned(partition: number): boolean {
    const last = this.#broker.read(this.#names.lineage, partition, 0, Infinity).at(-1)
    if (!last) return false
    const { turns_after, stream_time_after } = types.lineage.fromBuffer(last.record.value!.subarray(5)) as LineageRecord
    return turns_after < 0 || turns_after === endedDays(stream_time_after, this.#topology.stage.grace) * sweepSegments
  }

  /** Each batch was scored by the models of the release that its lineage names, none goes back to an older one, and the scores are those of an engine that was never interrupted. */
  async #verifyReleases(): Promise<void> {
    this.#registry.down = false
    for (let partition = 0; partition < partitions; partition++) {
      const read = (topic: string): Buffer[] => this.#broker.read(topic, partition, 0, Infinity).map(({ record }) => record.value!)
      const lineage = read(this.#names.lineage).map((value) => types.lineage.fromBuffer(value.subarray(5)) as LineageRecord)
      let before = 0
      for (const { sequence, release, models } of lineage) {
        if (release < before) this.#problems.push(`${partition}: batch ${sequence} was scored by release ${release} after one by release ${before}`)
        if (release > before) this.count('in force')
        before = release
        const told = models.map(({ role, model, sha256, share, epoch }) => ({ role, model, sha256, share, epoch }))
        const released = this.#releases.at(release).map(({ role, model, sha256, share, epoch }) => ({ role, model, sha256, share, epoch }))
        if (JSON.stringify(told) !== JSON.stringify(released)) this.#problems.push(`${partition}: batch ${sequence} names ${JSON.stringify(told)}, release ${release} is ${JSON.stringify(released)}`)
      }
      const input = this.#broker.log(this.#names.input, partition)
      const told = await tellAgain({ topology: this.#topology, registry: this.#registry, releases: this.#releases, outputs: this.#outputOptions('told'), partition, input, lineage })
      const scored = read(this.#names.scored)
      // With copies: the one of the batch that committed is there.
      if (publishesEarly(this.#topology)) {
        const copies = new Set(scored.map((value) => value.toString('latin1')))
        const missing = told.findIndex((value) => !copies.has(value.toString('latin1')))
        if (missing >= 0) this.#problems.push(`${partition}: no copy of scored event ${missing} is that of the batch which committed: ${JSON.stringify(types.scored.fromBuffer(told[missing]!.subarray(5)))}`)
        continue
      }
      for (const [index, value] of scored.entries()) {
        if (told[index]?.equals(value) === true) continue
        const text = (bytes: Buffer | undefined): string => (bytes ? JSON.stringify(types.scored.fromBuffer(bytes.subarray(5))) : 'nothing')
        this.#problems.push(`${partition}: scored event ${index} differs from that of an engine without interruptions:\n  ${text(value)}\n  ${text(told[index])}`)
        break
      }
    }
  }

  #verify(): Map<string, string> {
    const contents = new Map<string, string>()
    const early = publishesEarly(this.#topology)
    for (const [partition, ids] of this.#inputs.entries()) {
      const read = (topic: string): MemoryRecord[] => this.#broker.read(topic, partition, 0, Infinity).map(({ record }) => record)
      const offsetOf = new Map(ids.map((id, offset) => [id, offset]))
      const seen = new Map<number, number>()
      let before = -1
      for (const { value } of read(this.#names.scored)) {
        const event = types.scored.fromBuffer(value!.subarray(5)) as { event_id: string; lineage: { task: string; sequence: number } }
        const content = JSON.stringify({ ...event, lineage: event.lineage.task })
        if (event.event_id.includes('@')) {
          if (contents.has(`${partition}/${event.event_id}`)) this.#problems.push(`${partition}: ${event.event_id} is scored twice`)
          contents.set(`${partition}/${event.event_id}`, content)
          continue
        }
        const offset = offsetOf.get(event.event_id) ?? -1
        const known = contents.get(`${partition}/${offset}`)
        if (known !== undefined && early) {
          this.count('copy')
          if (known !== content && !this.#options.releases) this.#problems.push(`${partition}: two copies of the scored event of offset ${offset} differ:\n  ${known}\n  ${content}`)
          continue
        }
        if (offset < before) this.#problems.push(`${partition}: the scored event of offset ${offset} comes after that of ${before}`)
        before = offset
        seen.set(offset, (seen.get(offset) ?? 0) + 1)
        contents.set(`${partition}/${offset}`, content)
      }
      for (const { headers } of read(this.#names.deadLetters)) {
        const offset = Number(headers.find(({ name }) => name === '__streams.errors.offset')!.value)
        seen.set(offset, (seen.get(offset) ?? 0) + 1)
        contents.set(`${partition}/${offset}`, 'dead letter')
      }
      const leastOutputs = this.#topology.stage.score ? 0 : 1
      for (const offset of ids.keys()) if ((seen.get(offset) ?? 0) > 1 || (seen.get(offset) ?? 0) < leastOutputs) this.#problems.push(`${partition}/${offset} (${ids[offset]}) has ${seen.get(offset) ?? 0} outputs`)
      let at = 0
      let turned: number | undefined
      for (const [index, { value }] of read(this.#names.lineage).entries()) {
        const { sequence, inputs, counts, turns_before, turns_after } = types.lineage.fromBuffer(value!.subarray(5)) as LineageRecord
        const range = inputs[0]!
        if (sequence !== index || range.from !== at || counts.records !== range.to - range.from) {
          this.#problems.push(`${partition}: lineage ${sequence} covers [${range.from}, ${range.to}) with ${counts.records} records where batch ${index} from ${at} should follow`)
        }
        if (turns_before !== (turned ?? turns_before) || turns_after < turns_before) this.#problems.push(`${partition}: lineage ${sequence} turns days from ${turns_before} to ${turns_after} after ${turned}`)
        turned = turns_after
        at = range.to
      }
      if (at !== ids.length) this.#problems.push(`${partition}: lineage ends at ${at} of ${ids.length}`)
    }
    return contents
  }
}
