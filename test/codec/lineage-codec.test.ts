import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HarrierError } from '../../src/base/errors.js'
import { decodeLineage, encodeLineage, type LineageRecord } from '../../src/codec/lineage-codec.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'

const record: LineageRecord = {
  task: 'card-fraud/customer/3',
  sequence: Number.MAX_SAFE_INTEGER,
  inputs: [{ topic: 'transactions', partition: 3, from: 0, to: 2 ** 53 - 1 }],
  counts: { records: 2000, scored: 1990, alerts: 3, dead_letters: 10, late: 2, fallbacks: 0, labels: 0, labels_repeated: 0, labels_conflicting: 0, turned: 1, unscored: 2, labels_unknown: 0 },
  models: [
    { role: 'champion', share: 1, model: 'card-gru@1', sha256: 'ab'.repeat(32), manifest: '01'.repeat(32), epoch: 1, device: 'cpu', failure: null },
    { role: 'shadow', share: 0.25, model: 'card-cnn@1', sha256: 'cd'.repeat(32), manifest: '23'.repeat(32), epoch: 8, device: 'webgpu', failure: 'timed out after 50 ms' },
  ],
  release: 7,
  digests: { topology: 'a', features: 'b', policy: 'c', layout: 'd' },
  stream_time_before: -1,
  stream_time_after: 1_522_540_831_000,
  upstream_stream_times_before: [],
  upstream_stream_times_after: [],
  turns_before: -1,
  turns_after: -1,
  oldest_dirty: 0,
  transactional_id: 'card-fraud-0-0',
  engine: { harrier: '0.1.0', onnxruntime: '1.30.0', node: 'v20.20.2', device_class: 'cpu/x64' },
  silent: false,
  unknown_schema_ids: [7, 4_294_967_295],
  ahead_max_ms: 86_400_000,
  tokens: [{ version: 1, id: 'a1b2c3d4e5f6' }],
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('a lineage record comes back as it was written, also by the schema of its id', () => {
  const value = encodeLineage(5, record)
  assert.deepEqual([...value.subarray(0, 5)], [0, 0, 0, 0, 5])
  assert.deepEqual(plain(decodeLineage(value)), record)
  assert.deepEqual(plain(decodeLineage(value, loadOwnSchema('lineage'))), record)
})

test('what is no lineage record is refused as undecodable', () => {
  const value = encodeLineage(5, record)
  for (const bad of [new Uint8Array(0), value.subarray(0, 40), value.subarray(5), Buffer.concat([value, Buffer.from([0])])]) {
    assert.throws(() => decodeLineage(bad), (error) => error instanceof HarrierError && error.code === 'RECORD_UNDECODABLE')
  }
})

test('an offset that a number cannot hold is never written', () => {
  assert.throws(() => encodeLineage(5, { ...record, sequence: 2 ** 53 + 2 }))
})
