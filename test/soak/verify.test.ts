import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import type { Alert, Outcome, RunRecords } from '../../src/soak/run-records.js'
import type { SoakRecord } from '../../src/soak/soak-input.js'
import { referenceOf, verifyRun, type Findings } from '../../src/soak/verify.js'

const task = 'card-fraud/customer/0'
const record = (id: string | null, key: string): SoakRecord => ({ partition: 0, key: Buffer.from(key), value: Buffer.from('x'), id })
/** Partition 0 with two cards and a malformed record at offset 3. */
const inputs = [[record('e0', 'a'), record('e1', 'b'), record('e2', 'a'), record(null, 'b'), record('e4', 'a'), record('e5', 'b')]]

const scored = (id: string, offset: number, sequence: number): Outcome => ({
  partition: 0,
  offset,
  names: { id },
  content: `score of ${id}`,
  lineage: { task, sequence },
  needsAlert: id === 'e2',
})
const deadLetter: Outcome = { partition: 0, offset: 0, names: { inputOffset: 3 }, content: 'truncated', needsAlert: false }
const lineage = (sequence: number, from: number, to: number, counts: { scored: number; dead_letters: number }): LineageRecord => ({
  task,
  sequence,
  inputs: [{ topic: 'transactions', partition: 0, from, to }],
  counts: { records: to - from, alerts: 0, late: 0, fallbacks: 0, labels: 0, labels_repeated: 0, labels_conflicting: 0, turned: 0, unscored: 0, labels_unknown: 0, ...counts },
  models: [],
  release: 0,
  digests: { topology: '', features: '', policy: '', layout: '' },
  stream_time_before: 0,
  stream_time_after: 0,
  upstream_stream_times_before: [],
  upstream_stream_times_after: [],
  turns_before: -1,
  turns_after: -1,
  oldest_dirty: 0,
  transactional_id: '',
  engine: { harrier: '', onnxruntime: '', node: '', device_class: '' },
  silent: false,
  unknown_schema_ids: [],
  ahead_max_ms: null,
  tokens: [],
})
const sound: RunRecords = {
  outcomes: [scored('e0', 0, 0), scored('e1', 1, 0), scored('e2', 2, 0), deadLetter, scored('e4', 3, 1), scored('e5', 4, 1)],
  alerts: [{ id: 'e2', partition: 0, content: '' }],
  lineage: [lineage(0, 0, 3, { scored: 3, dead_letters: 0 }), lineage(1, 3, 6, { scored: 2, dead_letters: 1 })],
}
const reference = referenceOf(inputs, sound)

function found(run: Partial<RunRecords>): Omit<Findings, 'examples'> {
  const { examples, ...counts } = verifyRun(inputs, { ...sound, ...run }, reference)
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0)
  assert.equal(examples.length, Math.min(total, 12), 'each finding is told in words, up to a limit')
  return counts
}

const nothing = { lost: 0, doubled: 0, changed: 0, unproved: 0, disorder: 0 }
const without = (id: string): Outcome[] => sound.outcomes.filter(({ names }) => !('id' in names && names.id === id))

describe('the verifier of a soak', () => {
  it('finds nothing in a sound run, however its batches were cut', () => {
    assert.deepEqual(found({}), nothing)
    const other: Partial<RunRecords> = {
      outcomes: sound.outcomes.map((outcome) => (outcome.lineage ? { ...outcome, lineage: { task, sequence: 0 } } : outcome)),
      lineage: [lineage(0, 0, 6, { scored: 5, dead_letters: 1 })],
    }
    assert.deepEqual(found(other), nothing)
  })

  it('finds a lost score, and that its lineage record tells of more than is there', () => {
    assert.deepEqual(found({ outcomes: without('e4') }), { ...nothing, lost: 1, unproved: 1 })
  })

  it('finds a lost dead letter', () => {
    assert.deepEqual(found({ outcomes: sound.outcomes.filter((outcome) => outcome !== deadLetter) }), { ...nothing, lost: 1, unproved: 1 })
  })

  it('finds a doubled score', () => {
    assert.equal(found({ outcomes: [...sound.outcomes, scored('e5', 5, 1)] }).doubled, 1)
  })

  it('finds an input that became a score and a dead letter', () => {
    assert.equal(found({ outcomes: [...sound.outcomes, { ...deadLetter, names: { inputOffset: 5 } }] }).doubled, 1)
  })

  it('finds a score of an event that never came in, and one in another partition', () => {
    assert.equal(found({ outcomes: [...sound.outcomes, scored('e99', 9, 1)] }).doubled, 1)
    const moved = found({ outcomes: [...without('e5'), { ...scored('e5', 0, 1), partition: 1 }] })
    assert.equal(moved.lost, 1)
    assert.equal(moved.doubled, 1)
  })

  it('finds one changed bit', () => {
    const changed = sound.outcomes.map((outcome) => ('id' in outcome.names && outcome.names.id === 'e1' ? { ...outcome, content: 'score of e1, but for a bit' } : outcome))
    assert.deepEqual(found({ outcomes: changed }), { ...nothing, changed: 1 })
  })

  it('finds scores of one card in another order, and lets cards overtake each other', () => {
    const [e0, e1, e2, dead, e4, e5] = sound.outcomes as [Outcome, Outcome, Outcome, Outcome, Outcome, Outcome]
    assert.deepEqual(found({ outcomes: [e1, e0, e2, dead, e5, e4] }), nothing)
    assert.deepEqual(found({ outcomes: [e2, e1, e0, dead, e4, e5] }), { ...nothing, disorder: 1 })
  })

  it('finds a lost and a doubled alert', () => {
    const alert: Alert = sound.alerts[0]!
    assert.deepEqual(found({ alerts: [] }), { ...nothing, lost: 1 })
    assert.deepEqual(found({ alerts: [alert, alert] }), { ...nothing, doubled: 1 })
    assert.deepEqual(found({ alerts: [alert, { ...alert, id: 'e0' }] }), { ...nothing, doubled: 1 })
  })

  it('finds lineage that is missing, doubled, or names another range', () => {
    assert.ok(found({ lineage: [sound.lineage[0]!] }).unproved >= 3, 'two scores and the end of the partition')
    assert.ok(found({ lineage: [sound.lineage[0]!, sound.lineage[1]!, sound.lineage[1]!] }).unproved >= 1)
    assert.ok(found({ lineage: [sound.lineage[0]!, lineage(1, 4, 6, { scored: 2, dead_letters: 0 })] }).unproved >= 1)
  })
})
