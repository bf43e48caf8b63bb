import type { SequenceMemory } from './sequence-memory.js'

/** From so many words on, moving them as a block is quicker than one after the other, though it makes an object: 0.1 us, and hardly more for 400. */
const blockWordsMin = 48

/** Copies `count` 32-bit words. */
export function copyWords(to: Int32Array, toAt: number, from: Int32Array, fromAt: number, count: number): void {
  if (count >= blockWordsMin) to.set(from.subarray(fromAt, fromAt + count), toAt)
  else for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i]!
}

/** Where each of a model's features stands in a row; null = the row's first floats as they are. */
export type FeatureMap = Int32Array | null

export function featureMap(indexes: Int32Array): FeatureMap {
  return indexes.every((at, index) => at === index) ? null : indexes
}

/** Copies one row's `count` features of a model. */
export function copyFeatures(to: Int32Array, toAt: number, from: Int32Array, fromAt: number, count: number, map: FeatureMap): void {
  if (map === null) for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i]!
  else for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + map[i]!]!
}

/** How many rows of the ring have an event time at or before `eventTime`: the place of a new row (ties after). */
export function ringPlace(memory: SequenceMemory, slot: number, count: number, head: number, eventTime: number): number {
  const { window } = memory.layout
  const times = memory.ringTimes[slot >>> memory.shift]!
  const base = ((slot & memory.mask) * memory.ringStride) / 2 + 1
  let place = count
  while (place > 0) {
    let at = head + place - 1
    if (at >= window) at -= window
    if (times[base + at]! <= eventTime) break
    place--
  }
  return place
}

/** Copies rows [from, to) of a ring, in event-time order, as `features` floats each. */
export function gatherRing(
  memory: SequenceMemory, slot: number, head: number, from: number, to: number,
  target: Int32Array, targetAt: number, features: number, map: FeatureMap,
): void {
  const { window, features: rowFloats } = memory.layout
  const words = memory.ringWords[slot >>> memory.shift]!
  const base = (slot & memory.mask) * memory.ringStride + memory.ringRowsAt
  let at = head + from
  if (at >= window) at -= window
  let writeAt = targetAt
  if (map === null && features === rowFloats) {
    // at most two straight runs
    const first = Math.min(to - from, window - at)
    copyWords(target, writeAt, words, base + at * rowFloats, first * rowFloats)
    copyWords(target, writeAt + first * rowFloats, words, base, (to - from - first) * rowFloats)
    return
  }
  for (let row = from; row < to; row++) {
    copyFeatures(target, writeAt, words, base + at * rowFloats, features, map)
    writeAt += features
    if (++at === window) at = 0
  }
}

/**
 * Puts a row at `place`. The caller has saved the bytes of the physical row at `ringVictim`, and knows that the ring has room
 * or that `place` > 0 (a full ring drops its oldest row; a row older than all of a full ring is not put).
 */
export function ringInsert(memory: SequenceMemory, slot: number, place: number, eventTime: number, row: Int32Array, rowAt: number): void {
  const { window, features } = memory.layout
  const chunk = slot >>> memory.shift
  const words = memory.ringWords[chunk]!
  const times = memory.ringTimes[chunk]!
  const base = (slot & memory.mask) * memory.ringStride
  const timesAt = base / 2 + 1
  const rowsAt = base + memory.ringRowsAt
  const count = words[base]!
  let head = words[base + 1]!
  let logical = place
  if (count === window) {
    if (++head === window) head = 0
    words[base + 1] = head
    logical--
  } else words[base] = count + 1
  const last = Math.min(count, window - 1)
  let at = head + last
  if (at >= window) at -= window
  for (let j = last; j > logical; j--) {
    const before = at === 0 ? window - 1 : at - 1
    times[timesAt + at] = times[timesAt + before]!
    copyWords(words, rowsAt + at * features, words, rowsAt + before * features, features)
    at = before
  }
  times[timesAt + at] = eventTime
  copyWords(words, rowsAt + at * features, row, rowAt, features)
}

/** The physical row that `ringInsert` will fill first: free, or the oldest of a full ring. */
export function ringVictim(count: number, head: number, window: number): number {
  return count === window ? head : count
}

/** Takes back a `ringInsert`: `count` and `head` are those from before it, the row and time those of its victim. */
export function ringRemove(
  memory: SequenceMemory, slot: number, count: number, head: number, place: number, victimTime: number, victim: Int32Array, victimAt: number,
): void {
  const { window, features } = memory.layout
  const chunk = slot >>> memory.shift
  const words = memory.ringWords[chunk]!
  const times = memory.ringTimes[chunk]!
  const base = (slot & memory.mask) * memory.ringStride
  const timesAt = base / 2 + 1
  const rowsAt = base + memory.ringRowsAt
  const full = count === window
  const headNow = full ? (head + 1) % window : head
  const last = Math.min(count, window - 1)
  let at = (headNow + (full ? place - 1 : place)) % window
  for (let j = full ? place - 1 : place; j < last; j++) {
    const after = at === window - 1 ? 0 : at + 1
    times[timesAt + at] = times[timesAt + after]!
    copyWords(words, rowsAt + at * features, words, rowsAt + after * features, features)
    at = after
  }
  // `at` is now the victim's place
  times[timesAt + at] = victimTime
  copyWords(words, rowsAt + at * features, victim, victimAt, features)
}
