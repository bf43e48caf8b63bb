import { assert } from '../base/assert.js'

/** Ranges up to this difference of ends are sorted by insertion. */
const smallRange = 15

/**
 * The order in which numpy's `argsort(kind='quicksort')` put rows before it used vector instructions: introsort with the
 * median of three, the larger part kept for later, insertion for small ranges. It is not stable, and the published set
 * was sorted with it, so it decides which of two transactions in the same second comes first.
 *
 * Fails by assertion where numpy would change to heapsort (depth 2 log2 n), which does not happen for times of day.
 */
export function introsortOrder(keys: Int32Array): Int32Array {
  const order = Int32Array.from({ length: keys.length }, (_, i) => i)
  const later: { low: number; high: number; depth: number }[] = []
  let low = 0
  let high = keys.length - 1
  let depth = (31 - Math.clz32(Math.max(1, keys.length))) * 2
  for (;;) {
    assert(depth >= 0, 'the sort divides its ranges well')
    while (high - low > smallRange) {
      const middle = partition(keys, order, low, high)
      depth--
      if (middle - low < high - middle) {
        later.push({ low: middle + 1, high, depth })
        high = middle - 1
      } else {
        later.push({ low, high: middle - 1, depth })
        low = middle + 1
      }
    }
    insertionSort(keys, order, low, high)
    const next = later.pop()
    if (!next) return order
    ;({ low, high, depth } = next)
  }
}

/** Splits [low, high] around the median of its first, middle and last row; returns where that row ended up. */
function partition(keys: Int32Array, order: Int32Array, low: number, high: number): number {
  const middle = low + ((high - low) >> 1)
  if (keys[order[middle]!]! < keys[order[low]!]!) swap(order, middle, low)
  if (keys[order[high]!]! < keys[order[middle]!]!) swap(order, high, middle)
  if (keys[order[middle]!]! < keys[order[low]!]!) swap(order, middle, low)
  const pivot = keys[order[middle]!]!
  swap(order, middle, high - 1)
  let i = low
  let j = high - 1
  for (;;) {
    do i++
    while (keys[order[i]!]! < pivot)
    do j--
    while (pivot < keys[order[j]!]!)
    if (i >= j) break
    swap(order, i, j)
  }
  swap(order, i, high - 1)
  return i
}

function insertionSort(keys: Int32Array, order: Int32Array, low: number, high: number): void {
  for (let i = low + 1; i <= high; i++) {
    const row = order[i]!
    const key = keys[row]!
    let at = i
    while (at > low && key < keys[order[at - 1]!]!) {
      order[at] = order[at - 1]!
      at--
    }
    order[at] = row
  }
}

function swap(order: Int32Array, a: number, b: number): void {
  const kept = order[a]!
  order[a] = order[b]!
  order[b] = kept
}
