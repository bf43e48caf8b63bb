import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { approvedChange, checkValidated, openProposals, proposalDetails } from '../../src/registry/release-rules.js'
import type { Release, ReleasedModel } from '../../src/registry/release.js'
import { StageReleases } from '../../src/registry/stage-releases.js'

const champion = (model: string): ReleasedModel[] => [{ role: 'champion', model, sha256: `sha of ${model}`, share: 1, epoch: 1 }]
const entry = (revision: number, action: Release['action'], model: string, more: Partial<Release> = {}): Release => ({
  topology: 't', stage: 's', revision, action, model, sha256: `sha of ${model}`, actor: 'anna', reason: '', time: 0, from: champion('gru@1'), to: champion('gru@1'), details: {}, harrier: '0', ...more,
})
const releases = (...entries: Release[]): StageReleases => new StageReleases(entries, champion('gru@1'))
const canary = entry(1, 'propose', 'gru@2', { details: proposalDetails({ action: 'canary', model: 'gru@2', sha256: 'sha of gru@2', share: 0.05 }) })

describe('rules for releases', () => {
  it('a validation record counts for the very files that were validated', () => {
    const validated = releases(entry(1, 'validate', 'gru@2'))
    checkValidated(validated, { model: 'gru@2', sha256: 'sha of gru@2' })
    assert.throws(() => checkValidated(validated, { model: 'gru@2', sha256: 'another' }), { code: 'RELEASE_REFUSED', message: /no validation record/ })
    assert.throws(() => checkValidated(validated, { model: 'gru@3', sha256: 'sha of gru@3' }), { code: 'RELEASE_REFUSED' })
  })

  it('a proposal is approved by somebody else, as it was made', () => {
    const { change } = approvedChange(releases(canary), 1, 'bert')
    assert.deepEqual(change, { action: 'canary', model: 'gru@2', sha256: 'sha of gru@2', share: 0.05 })
    assert.throws(() => approvedChange(releases(canary), 1, 'anna'), { code: 'RELEASE_REFUSED', message: /somebody else has to approve/ })
  })

  it('not twice, not after it was rejected, and not when something else has come in force since', () => {
    const refused = (since: Release, message: RegExp): void => assert.throws(() => approvedChange(releases(canary, since), 1, 'bert'), { code: 'RELEASE_REFUSED', message })
    refused(entry(2, 'canary', 'gru@2', { actor: 'bert', details: { proposal: '1' } }), /decided already: revision 2, canary by bert/)
    refused(entry(2, 'reject', 'gru@2', { details: { proposal: '1' } }), /decided already: revision 2, reject by anna/)
    refused(entry(2, 'release', 'gru@3', { to: champion('gru@3') }), /other models came in force, by revision 2 \(release gru@3\)/)
    assert.throws(() => approvedChange(releases(canary), 7, 'bert'), { code: 'RELEASE_REFUSED', message: /revision 7 is no proposal/ })
    assert.equal(approvedChange(releases(canary, entry(2, 'validate', 'cnn@1')), 1, 'bert').proposal.revision, 1, 'a note changes nothing')
  })

  it('proposals stay open until they are decided', () => {
    assert.deepEqual(openProposals([canary, entry(2, 'propose', 'cnn@1'), entry(3, 'reject', 'gru@2', { details: { proposal: '1' } })]).map(({ revision }) => revision), [2])
  })
})
