import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Release, ReleasedModel } from '../../src/registry/release.js'
import { whyNoRollback } from '../../src/registry/release-rules.js'
import { fileEpoch, StageReleases, type ReleaseChange } from '../../src/registry/stage-releases.js'

const version = (model: string): { model: string; sha256: string } => ({ model, sha256: Buffer.from(model).toString('hex').padEnd(64, '0') })
const named: ReleasedModel[] = [
  { role: 'champion', ...version('gru@1'), share: 1, epoch: fileEpoch },
  { role: 'shadow', ...version('row@1'), share: 0, epoch: fileEpoch },
]

/** A ledger that grows by what `after` says. */
class Ledger {
  entries: Release[] = []

  get now(): StageReleases {
    return new StageReleases(this.entries, named)
  }

  do(change: ReleaseChange): this {
    const { now } = this
    const entry = { topology: 't', stage: 's', revision: now.revision + 1, action: change.action, ...version('x'), actor: 'a', reason: 'r', time: 0, from: now.models, to: now.after(change), details: {}, harrier: '0' }
    this.entries = [...this.entries, entry]
    return this
  }

  release(model: string): this {
    return this.do({ action: 'release', ...version(model) })
  }

  get text(): string {
    return this.now.models.map(({ role, model, share, epoch }) => `${role} ${model} ${share} e${epoch}`).join(', ')
  }
}

describe('releases of a stage', () => {
  it('begin with what the topology file names, and give each version an epoch when it gets its role', () => {
    const ledger = new Ledger()
    assert.equal(ledger.text, 'champion gru@1 1 e1, shadow row@1 0 e1')
    assert.equal(ledger.release('gru@2').text, 'champion gru@2 1 e2, shadow row@1 0 e1')
    assert.equal(ledger.do({ action: 'shadow', ...version('cnn@1') }).text, 'champion gru@2 1 e2, shadow row@1 0 e1, shadow cnn@1 0 e3')
    assert.equal(ledger.do({ action: 'canary', share: 0.05, ...version('cnn@1') }).text, 'champion gru@2 0.95 e2, challenger cnn@1 0.05 e4, shadow row@1 0 e1')
    assert.equal(ledger.do({ action: 'canary', share: 0.2, ...version('cnn@1') }).text, 'champion gru@2 0.8 e2, challenger cnn@1 0.2 e4, shadow row@1 0 e1', 'a larger share goes on with its states')
    assert.equal(ledger.release('cnn@1').text, 'champion cnn@1 1 e6, shadow row@1 0 e1')
  })

  it('a rollback ends a canary first, and then goes back champion by champion, never forth again', () => {
    const ledger = new Ledger().release('gru@2').release('gru@3').do({ action: 'canary', share: 0.1, ...version('row@1') })
    assert.equal(ledger.do({ action: 'rollback' }).text, 'champion gru@3 1 e3, shadow row@1 0 e5', 'the canary is a shadow again')
    assert.equal(ledger.do({ action: 'rollback' }).text, 'champion gru@2 1 e6, shadow row@1 0 e5', 'what comes back has missed events: its epoch is new')
    assert.equal(ledger.do({ action: 'rollback' }).text, 'champion gru@1 1 e7, shadow row@1 0 e5')
    assert.throws(() => ledger.do({ action: 'rollback' }), { code: 'RELEASE_REFUSED', message: /no earlier champion than gru@1/ })
    assert.equal(ledger.release('gru@3').do({ action: 'rollback' }).text, 'champion gru@1 1 e9, shadow row@1 0 e5')
  })

  it('what changes nothing, or would leave nobody to decide, is refused and says what to do', () => {
    const ledger = new Ledger()
    const refused = (change: ReleaseChange, message: RegExp): void => assert.throws(() => ledger.now.after(change), { code: 'RELEASE_REFUSED', message })
    refused({ action: 'release', ...version('gru@1') }, /gru@1 is the champion already/)
    refused({ action: 'canary', share: 0.1, ...version('gru@1') }, /decides all events already/)
    refused({ action: 'shadow', ...version('row@1') }, /row@1 is shadow already/)
    refused({ action: 'withdraw', model: 'gru@1' }, /somebody has to decide/)
    refused({ action: 'withdraw', model: 'cnn@1' }, /not in force here: gru@1 champion, row@1 shadow/)
    for (let n = 1; n <= 8; n++) ledger.do({ action: 'shadow', ...version(`more@${n}`) })
    refused({ action: 'shadow', ...version('more@9') }, /11 models would score every event, at most 10 may/)
  })

  it('withdrawing changes nothing for the others', () => {
    const ledger = new Ledger().do({ action: 'canary', share: 0.3, ...version('cnn@1') })
    assert.equal(ledger.do({ action: 'withdraw', model: 'cnn@1' }).text, 'champion gru@1 1 e1, shadow row@1 0 e1')
    assert.equal(ledger.do({ action: 'withdraw', model: 'row@1' }).text, 'champion gru@1 1 e1')
  })

  it('a guardrail takes a champion back past a canary, once, and nothing that has decided longer, came back, or is another', () => {
    const ledger = new Ledger().release('gru@2').do({ action: 'canary', share: 0.1, ...version('cnn@1') })
    const breached = { role: 'champion' as const, model: 'gru@2', epoch: 2, share: 1, sinceMs: 10, windowMs: 1000 }
    const canary = { ...breached, role: 'challenger' as const, model: 'cnn@1', epoch: 3, share: 0.1 }
    assert.equal(whyNoRollback(ledger.now, breached), undefined)
    assert.equal(whyNoRollback(ledger.now, canary), undefined)
    assert.equal(ledger.now.broughtBy(breached)?.revision, 1, 'not by the canary beside it')
    assert.match(whyNoRollback(ledger.now, { ...canary, share: 0.2 })!, /challenger by another release/)
    assert.match(whyNoRollback(ledger.now, { ...breached, sinceMs: 1000 })!, /revision 1 is further back than the window/)
    assert.equal(ledger.do({ action: 'rollback', champion: true }).text, 'champion gru@1 1 e4, shadow row@1 0 e1')
    assert.match(whyNoRollback(ledger.now, breached)!, /gru@2 is not champion any more/)
    assert.match(whyNoRollback(ledger.now, { ...breached, model: 'gru@1', epoch: 4 })!, /came back by a rollback .* undoes releases and canaries only/)
  })
})
