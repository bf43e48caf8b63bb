import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gatherRing, ringInsert, ringPlace, ringRemove, ringVictim } from '../../src/inference/ring.js'
import { HIDDEN_HEAD, HIDDEN_MARKED, SequenceMemory, type SequenceLayout } from '../../src/inference/sequence-memory.js'
import { exportBytesMax, exportSlot, importSlot } from '../../src/inference/slot-sections.js'

const layout = (more: Partial<SequenceLayout> = {}): SequenceLayout => ({ features: 2, window: 4, hidden: [], chunkSlots: 4, ...more })
const first = { identity: '11'.repeat(32), epoch: 7, floats: 3 }
const second = { identity: '22'.repeat(32), epoch: 7, floats: 2 }

/** Puts a row as the walk does; returns how to take it back. */
function put(memory: SequenceMemory, slot: number, eventTime: number, row: Int32Array): () => void {
  const { window, features } = memory.layout
  const words = memory.ringWords[slot >>> memory.shift]!
  const at = (slot & memory.mask) * memory.ringStride
  const [count, head] = [words[at]!, words[at + 1]!]
  const place = ringPlace(memory, slot, count, head, eventTime)
  if (count === window && place === 0) return () => undefined
  const victim = ringVictim(count, head, window)
  const time = memory.ringTimes[slot >>> memory.shift]![at / 2 + 1 + victim]!
  const bits = words.slice(at + memory.ringRowsAt + victim * features, at + memory.ringRowsAt + (victim + 1) * features)
  ringInsert(memory, slot, place, eventTime, row, 0)
  return () => {
    ringRemove(memory, slot, count, head, place, time, bits, 0)
    words[at] = count
    words[at + 1] = head
  }
}

test('a ring keeps the last W rows in event-time order, ties after, and takes each put back to the bit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 40 }), (window, times) => {
      const memory = new SequenceMemory(layout({ window }))
      memory.ensureSlots(3)
      let expected: [time: number, id: number][] = []
      times.forEach((time, id) => {
        const was = Buffer.from(new Uint8Array(memory.chunks[0]!.ring))
        put(memory, 2, time, Int32Array.of(id, 7 + id))()
        assert.ok(was.equals(new Uint8Array(memory.chunks[0]!.ring)))
        put(memory, 2, time, Int32Array.of(id, 7 + id))
        const place = expected.filter(([each]) => each <= time).length
        const entry: [number, number] = [time, id]
        if (expected.length < window || place > 0) expected = [...expected.slice(0, place), entry, ...expected.slice(place)].slice(-window)
        const rows = new Int32Array(window * 2)
        gatherRing(memory, 2, memory.ringWords[0]![2 * memory.ringStride + 1]!, 0, memory.ringCount(2), rows, 0, 2, null)
        assert.deepEqual([...rows.subarray(0, expected.length * 2)], expected.flatMap(([, each]) => [each, 7 + each]))
      })
    }),
  )
})

test('memory grows by chunks that do not move, and a second memory sees what the first writes', () => {
  const memory = new SequenceMemory(layout({ hidden: [first] }))
  memory.ensureSlots(1)
  const chunk = memory.chunks[0]!
  memory.ensureSlots(9)
  assert.equal(memory.slotCapacity, 12)
  assert.equal(memory.chunks[0], chunk)
  const other = new SequenceMemory(memory.layout)
  for (const each of memory.chunks) other.attach(each)
  put(memory, 8, 5, Int32Array.of(1, 2))
  assert.equal(other.ringCount(8), 1)
})

test('the bytes of a slot are told by section, and are those of the buffers', () => {
  const memory = new SequenceMemory(layout({ window: 3, features: 3, hidden: [first, second] }))
  memory.ensureSlots(8)
  assert.deepEqual(memory.bytesPerSlot, [
    { name: 'ring', bytes: 8 + 3 * 8 + 3 * 3 * 4 + 4 },
    { name: 'hidden 111111111111', bytes: 8 + 12 },
    { name: 'hidden 222222222222', bytes: 8 + 8 },
  ])
  const buffers = memory.chunks.flatMap((chunk) => [chunk.ring, ...chunk.hidden])
  assert.equal(memory.bytes, buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0))
})

function filled(): SequenceMemory {
  const memory = new SequenceMemory(layout({ hidden: [first, second] }))
  memory.ensureSlots(6)
  for (let time = 1; time <= 6; time++) put(memory, 5, time, Int32Array.of(time, 10 * time))
  memory.hidden.forEach((slab, index) => slab.words[1]!.set([7, 0, 100 + index, 200 + index], slab.stride))
  return memory
}

test('a slot goes out and comes in again, elsewhere, with the same contents', () => {
  const memory = filled()
  const bytes = new Uint8Array(exportBytesMax(memory) + 3)
  const end = exportSlot(memory, 5, bytes, 3)
  assert.equal(end, bytes.length, 'a full ring and all hidden states take the most bytes')
  assert.equal(importSlot(memory, 2, bytes, 3), end)
  const again = new Uint8Array(bytes.length)
  exportSlot(memory, 2, again, 3)
  assert.deepEqual(again, bytes)
})

test('the bytes of a slot are those of the first release', () => {
  const bytes = new Uint8Array(exportBytesMax(filled()))
  exportSlot(filled(), 5, bytes, 0)
  const ring = '0100020004000000' + '0000000000000840' + '0000000000001040' + '0000000000001440' + '0000000000001840'
  const rows = '030000001e000000' + '0400000028000000' + '0500000032000000' + '060000003c000000'
  const one = '1111111111111111' + '03000000' + '07000000' + '64000000c800000000000000'
  const two = '2222222222222222' + '02000000' + '07000000' + '65000000c9000000'
  assert.equal(Buffer.from(bytes).toString('hex'), ring + rows + one + two)
})

test('a dropped model\'s state is passed over, and an added model is warmed', () => {
  const memory = filled()
  const bytes = new Uint8Array(exportBytesMax(memory))
  const end = exportSlot(memory, 5, bytes, 0)
  const next = new SequenceMemory(layout({ hidden: [{ identity: '33'.repeat(32), epoch: 7, floats: 3 }, second] }))
  next.ensureSlots(1)
  assert.equal(importSlot(next, 0, bytes, 0), end)
  assert.equal(next.ringCount(0), 4)
  assert.equal(next.hidden[0]!.words[0]![1]! & HIDDEN_MARKED, HIDDEN_MARKED)
  assert.deepEqual([...next.hidden[1]!.words[0]!.subarray(0, HIDDEN_HEAD + 2)], [7, 0, 101, 201])
})

test('a marked state is left out and comes in marked', () => {
  const memory = filled()
  memory.markHiddenOf(0, 5)
  const bytes = new Uint8Array(exportBytesMax(memory))
  const end = exportSlot(memory, 5, bytes, 0)
  assert.equal(end, bytes.length - 16 - 12)
  memory.resetSlot(5)
  importSlot(memory, 5, bytes, 0)
  assert.deepEqual(memory.hidden.map((slab) => slab.words[1]![slab.stride + 1]! & HIDDEN_MARKED), [HIDDEN_MARKED, 0])
})

test('a state of another release of the same file is neither written nor taken', () => {
  const memory = filled()
  const bytes = new Uint8Array(exportBytesMax(memory))
  exportSlot(memory, 5, bytes, 0)
  const next = new SequenceMemory(layout({ hidden: [{ ...first, epoch: 8 }, second] }))
  next.ensureSlots(1)
  importSlot(next, 0, bytes, 0)
  assert.deepEqual(next.hidden.map((slab) => slab.words[0]![1]! & HIDDEN_MARKED), [HIDDEN_MARKED, 0])
  memory.relayout([second, { ...first, epoch: 8 }], [1, -1])
  const end = exportSlot(memory, 5, bytes, 0)
  assert.equal(end, bytes.length - 16 - 12, 'the state of the second alone')
  memory.relayout([second], [0])
  memory.resetSlot(5)
  importSlot(memory, 5, bytes, 0)
  assert.deepEqual([...memory.hidden[0]!.words[1]!.subarray(4, 4 + HIDDEN_HEAD + 2)], [7, 0, 101, 201])
})

test('bytes that end too early, of another format or of a longer ring are refused', () => {
  const memory = filled()
  const bytes = new Uint8Array(exportBytesMax(memory))
  const end = exportSlot(memory, 5, bytes, 0)
  for (let cut = 0; cut < end; cut += 5) assert.throws(() => importSlot(memory, 1, bytes.subarray(0, cut), 0), { code: 'RESTORE_IMPOSSIBLE' })
  const shorter = new SequenceMemory(layout({ window: 3 }))
  shorter.ensureSlots(1)
  assert.throws(() => importSlot(shorter, 0, bytes, 0), { code: 'LAYOUT_CHANGED', message: /4 rows, this topology keeps 3/ })
  bytes[0] = 9
  assert.throws(() => importSlot(memory, 1, bytes, 0), { code: 'RESTORE_IMPOSSIBLE', message: /format 9/ })
})
