import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import type { Logger } from '../../src/base/logger.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { Decision, OutcomeColumns } from '../../src/codec/outcome-columns.js'
import { Frame } from '../../src/inference/frame.js'
import type { ScorerModel, ScoringModels } from '../../src/inference/scorer.js'
import { guardrailsSchema, guardrailTexts } from '../../src/topology/guardrail-spec.js'
import { rollBack, type RollbackDesk } from '../../src/topology/guardrail-rollback.js'
import { breachText, Guardrails, type Breach, type BreachOutcome } from '../../src/topology/guardrails.js'

const releasedMs = 1_700_000_000_000
const rowsMax = 50

function models(release: number, ...each: readonly { role: ScorerModel['role']; model: string; epoch: number; share?: number }[]): ScoringModels {
  return {
    release,
    models: each.map(({ role, model, epoch, share = role === 'champion' ? 1 : 0 }) => ({
      reference: model, role, epoch, share, sha256: '', manifestDigest: '', kind: 'row', rowsMultiple: 1, fileBytes: 0, openedBytes: 0, device: 'cpu', deviceNote: null,
    })),
  }
}

const old = models(0, { role: 'champion', model: 'm@1', epoch: 1 })
const fresh = models(1, { role: 'champion', model: 'm@2', epoch: 2 })

interface Event {
  readonly score?: number
  readonly alert?: boolean
  readonly timestampMs?: number
  readonly chosen?: number
  readonly delayMs?: number
}

class Rig {
  readonly breaches: Breach[] = []
  outcome: BreachOutcome = 'settled'
  readonly guardrails: Guardrails
  readonly #frame = new Frame({ rowsMax, features: 1, models: 2, hiddenFloats: [] })
  readonly #frameRow = Int32Array.from({ length: rowsMax }, (_, row) => row)

  constructor(spec: object, decides = true) {
    this.guardrails = new Guardrails({
      spec: guardrailsSchema.parse({ events: 100, window: '1h', ...spec }), decides,
      onBreach: (breach) => {
        this.breaches.push(breach)
        return Promise.resolve(this.outcome)
      },
    })
    this.guardrails.released({ revision: 1, time: releasedMs })
  }

  /** Batches of `rowsMax`. */
  commit(by: ScoringModels, count: number, event: (index: number) => Event): void {
    for (let from = 0; from < count; from += rowsMax) {
      const rows = Math.min(rowsMax, count - from)
      const records = new RecordColumns(rowsMax)
      const outcome = new OutcomeColumns(rowsMax, 2)
      outcome.reset(rows, 2)
      let nowMs = 0
      for (let row = 0; row < rows; row++) {
        const { score = 0.01, alert = false, timestampMs = releasedMs + 1000, chosen = 0, delayMs = 5 } = event(from + row)
        records.append(0, 0, from + row, timestampMs, null, new Uint8Array(1))
        outcome.scores[row * 2 + chosen] = score
        outcome.chosen[row] = chosen
        outcome.decision[row] = alert ? Decision.review : Decision.approve
        nowMs = timestampMs + delayMs
      }
      this.#frame.models = by
      this.guardrails.committed({ frame: this.#frame, frameRow: this.#frameRow, records, outcome }, nowMs)
    }
  }
}

describe('guardrails', () => {
  const quiet = (): Event => ({})
  const everyNth = (n: number) => (index: number): Event => ({ alert: index % n === 0 })

  it('a released model that alerts too much breaks its limit, once, after so many events and not before', () => {
    const rig = new Rig({ alertRateMax: 0.1 })
    rig.commit(old, 300, quiet)
    rig.commit(fresh, 50, everyNth(1))
    assert.equal(rig.breaches.length, 0)
    rig.commit(fresh, 50, everyNth(1))
    assert.equal(rig.breaches.length, 1)
    const [breach] = rig.breaches as [Breach]
    assert.deepEqual({ ...breach, decider: breach.decider.model }, { guardrail: 'alertRateMax', decider: 'm@2', measured: 1, limit: 0.1, before: 0, events: 100, sinceMs: releasedMs + 1000 })
    assert.equal(breachText(breach), 'alertRateMax: m@2, 100 % of its decisions were alerts, 0 % before; at most 10 % may be; 100 events of one process')
    rig.commit(fresh, 500, everyNth(1))
    assert.equal(rig.breaches.length, 1)
    assert.equal(rig.guardrails.state.breaches.alertRateMax, 1)
  })

  it('the model of the topology file is not watched, whatever it does', () => {
    const rig = new Rig({ alertRateMax: 0.1 })
    rig.commit(old, 1000, everyNth(1))
    assert.equal(rig.breaches.length, 0)
    assert.equal(rig.guardrails.state.judged, 0)
  })

  it('after the window of the release nothing is judged; a few records with timestamps of their own change nothing', () => {
    const rig = new Rig({ alertRateMax: 0.1 })
    rig.commit(fresh, 500, () => ({ alert: true, timestampMs: releasedMs + 3_600_000 }))
    assert.equal(rig.breaches.length, 0)
    rig.commit(fresh, 100, (index) => ({ alert: true, timestampMs: index % 4 === 0 ? releasedMs * 2 : releasedMs + 3_599_999 }))
    assert.equal(rig.breaches.length, 1)
  })

  it('trouble that comes late is not thinned out by what was before it', () => {
    const rig = new Rig({ alertRateMax: 0.5 })
    rig.commit(fresh, 1000, quiet)
    rig.commit(fresh, 100, everyNth(1))
    assert.equal(rig.breaches.length, 1)
  })

  it('a rate of some times that of the champion before: more than chance breaks it, chance does not', () => {
    const rig = new Rig({ alertRateTimesMax: 2 })
    rig.commit(old, 1000, everyNth(20))
    rig.commit(fresh, 100, (index) => ({ alert: index < 14 }))
    assert.equal(rig.breaches.length, 0, 'limit 10, and three standard deviations are 9.5')
    rig.commit(fresh, 100, (index) => ({ alert: index < 25 }))
    assert.equal(rig.breaches.length, 1)
    const started = new Rig({ alertRateTimesMax: 2 })
    started.commit(fresh, 100, everyNth(1))
    assert.equal(started.breaches.length, 0, 'a process that has not seen the champion before')
  })

  it('scores that lie elsewhere, a model that gives none, a stage that does not decide', () => {
    const shifted = new Rig({ scoreShiftMax: 0.25 }, false)
    shifted.commit(old, 500, (index) => ({ score: 0.001 * (index % 7) }))
    shifted.commit(fresh, 100, (index) => ({ score: 0.001 * (index % 7) }))
    assert.equal(shifted.breaches.length, 0)
    shifted.commit(fresh, 100, () => ({ score: 0.7, alert: true }))
    assert.equal(shifted.breaches[0]?.guardrail, 'scoreShiftMax')
    const failing = new Rig({ errorRateMax: 0.02, alertRateMax: 0.5 })
    failing.commit(fresh, 100, (index) => (index < 3 ? { score: NaN, alert: true } : {}))
    assert.deepEqual([failing.breaches[0]?.guardrail, failing.breaches[0]?.measured], ['errorRateMax', 0.03])
    const passing = new Rig({ alertRateMax: 0.1 }, false)
    passing.commit(fresh, 100, everyNth(1))
    assert.equal(passing.breaches.length, 0)
  })

  it('a delay is the release\'s only where the champion before kept it', () => {
    const slow = (index: number): Event => ({ delayMs: index < 50 ? 900 : 10 })
    const rig = new Rig({ delayMax: '500ms' })
    rig.commit(old, 200, quiet)
    rig.commit(fresh, 100, slow)
    assert.deepEqual([rig.breaches[0]?.guardrail, rig.breaches[0]?.measured], ['delayMax', 0.5])
    const behind = new Rig({ delayMax: '500ms' })
    behind.commit(old, 200, slow)
    behind.commit(fresh, 100, slow)
    assert.equal(behind.breaches.length, 0)
  })

  it('a canary is measured against the champion beside it, and a larger share is watched anew', () => {
    const canary = (release: number, share: number): ScoringModels => models(release, { role: 'champion', model: 'm@1', epoch: 1, share: 1 - share }, { role: 'challenger', model: 'm@2', epoch: 2, share })
    const rig = new Rig({ scoreShiftMax: 0.25 })
    rig.commit(canary(1, 0.5), 600, (index) => (index % 2 === 0 ? {} : { chosen: 1, score: 0.6 }))
    assert.deepEqual(rig.breaches.map(({ decider }) => `${decider.role} ${decider.model}`), ['challenger m@2'])
    rig.guardrails.released({ revision: 2, time: releasedMs })
    rig.commit(canary(2, 0.6), 400, (index) => (index % 2 === 0 ? {} : { chosen: 1, score: 0.6 }))
    assert.equal(rig.breaches.length, 2)
  })

  it('a shadow that comes does not end the watch, a breach that could not be written is found again', async () => {
    const rig = new Rig({ alertRateMax: 0.1 })
    rig.outcome = 'again'
    rig.commit(fresh, 50, everyNth(1))
    rig.guardrails.released({ revision: 2, time: releasedMs + 5000 })
    const beside = models(2, { role: 'champion', model: 'm@2', epoch: 2 }, { role: 'shadow', model: 'm@3', epoch: 3 })
    rig.commit(beside, 50, everyNth(1))
    assert.equal(rig.breaches.length, 1)
    await Promise.resolve()
    rig.commit(beside, 100, everyNth(1))
    assert.equal(rig.breaches.length, 2)
  })

  it('a breach that cannot be written is tried again, no more than so often, and told', async () => {
    const breach: Breach = { guardrail: 'errorRateMax', decider: { role: 'champion', model: 'm@2', epoch: 2, share: 1 }, measured: 0.5, limit: 0.1, before: NaN, events: 100, sinceMs: releasedMs }
    const told: string[] = []
    const logger: Logger = { log: (level, message) => void told.push(`${level} ${message}`) }
    let opened = 0
    const write = async (desk: () => Promise<RollbackDesk>): Promise<BreachOutcome> => {
      const clock = new ManualClock()
      let done: BreachOutcome | undefined
      void rollBack(breach, { openDesk: desk, windowMs: 1000, instanceId: 'a', clock, logger }).then((outcome) => (done = outcome))
      while (done === undefined) {
        await systemClock.sleep(0)
        clock.advance(1000)
      }
      return done
    }
    const away = (): Promise<RollbackDesk> => {
      opened++
      return Promise.reject(new HarrierError('BROKER_UNAVAILABLE', 'away'))
    }
    assert.equal(await write(away), 'again')
    assert.equal(opened, 6)
    assert.equal(told.at(-1), 'error a rollback by a guardrail could not be written')
    let closed = 0
    const decided: RollbackDesk = { rollBackBreached: () => Promise.resolve('m@2 is not champion any more'), close: () => Promise.resolve(void closed++) }
    assert.equal(await write(() => Promise.resolve(decided)), 'settled')
    assert.equal(closed, 1)
    assert.equal(told.at(-1), 'warn a guardrail is broken, and nothing is rolled back')
  })

  it('settings: at least one limit, and each says what it is', () => {
    assert.match(guardrailsSchema.safeParse({ window: '1h' }).error!.message, /names no guardrail: write one or more of alertRateMax, /)
    assert.match(guardrailsSchema.safeParse({ alertRateMax: 5 }).error!.message, /alertRateMax|less than|<1/)
    assert.deepEqual(guardrailTexts(guardrailsSchema.parse({ alertRateMax: 0.05, delayMax: '2s' })), ['alerts at most 5 % of the decisions', 'delay at most 2s for 99 of 100 events'])
  })
})
