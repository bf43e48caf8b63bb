import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { secondsPerDay } from '../../src/simulator/parameters.js'
import { generatePublished } from '../../src/simulator/published-transactions.js'
import { TerminalMap } from '../../src/simulator/terminal-map.js'
import { LegacyRandom } from '../../src/simulator/numpy-legacy.js'
import type { TransactionTable } from '../../src/simulator/transaction-table.js'

/** sha256 of the columns one after the other, little-endian; equal to that of an independent re-implementation with numpy and CPython. */
const publishedDigest = '315c630c97c21dbcd65102c123bc8ccf8e0e12bc197e3a0cdc34447abe9bbbd2'

function digest(table: TransactionTable): string {
  const hash = createHash('sha256')
  for (const column of [table.seconds, table.customer, table.terminal, table.amountCents, table.isFraud, table.scenario]) {
    hash.update(new Uint8Array(column.buffer, column.byteOffset, column.byteLength))
  }
  return hash.digest('hex')
}

const published = generatePublished()

test('the published seeds give the published totals', () => {
  const ofScenario = [0, 0, 0, 0]
  for (const scenario of published.scenario) ofScenario[scenario]!++
  assert.equal(published.rows, 1_754_155)
  assert.deepEqual(ofScenario, [1_754_155 - 14_681, 973, 9077, 4631])
  assert.equal(published.isFraud.reduce((sum, flag) => sum + flag, 0), 14_681)
})

test('the published seeds give every row: second, customer, terminal, amount, label and scenario, in order', () => {
  assert.equal(digest(published), publishedDigest)
})

test('rows that the handbook prints are where it prints them', () => {
  const row = (i: number): number[] => [published.seconds[i]!, published.customer[i]!, published.terminal[i]!, published.amountCents[i]!]
  assert.deepEqual(row(0), [31, 596, 3156, 5716])
  assert.deepEqual(row(288_062), [30 * secondsPerDay + 81, 3546, 2944, 1871])
  assert.deepEqual(row(1_754_154), [15_811_197, 3542, 9849, 2359])
  // Shares its second with another card: only the sort of the original puts it here, a stable one puts it a row earlier.
  assert.equal(published.customer[1_751_272], 0)
  assert.equal(published.seconds[1_751_271], published.seconds[1_751_272])
})

test('a range of days holds just its days, and ids do not depend on it', () => {
  const all = [...published.chunks({ fromDay: 3, toDay: 5 })]
  const first = published.firstRowOfDay(3)
  assert.equal(all[0]!.firstId, first)
  assert.equal(all.reduce((sum, chunk) => sum + chunk.count, 0), published.rowsExpected({ fromDay: 3, toDay: 5 }))
  assert.ok(published.seconds[first]! >= 3 * secondsPerDay && published.seconds[first - 1]! < 3 * secondsPerDay)
  assert.ok(all.every((chunk) => chunk.seconds.subarray(0, chunk.count).every((s) => s >= 3 * secondsPerDay && s < 5 * secondsPerDay)))
})

test('the same seed gives the same table, another seed another', () => {
  const size = { customers: 100, terminals: 300, days: 20 }
  const digests = [0, 0, 7].map((seed) => digest(generatePublished({ ...size, seed })))
  assert.equal(digests[0], digests[1])
  assert.notEqual(digests[0], digests[2])
})

test('amounts stay whole and positive in a set so small that the same card is compromised each day', () => {
  const tiny = generatePublished({ customers: 1, terminals: 3000, days: 60, seed: 5 })
  assert.ok(tiny.rows > 0)
  assert.ok(tiny.amountCents.every((cents) => cents >= 0))
})

test('a table that cannot fit in memory is refused with the way out', () => {
  assert.throws(() => generatePublished({ customers: 10_000_000 }), { code: 'LIMIT_EXCEEDED', remedy: /--generator counter/ })
})

test('near terminals are those within the radius, by definition', () => {
  const random = new LegacyRandom(3)
  for (const [count, radius] of [[400, 5], [50, 30], [40, 120], [300, 0.7]] as const) {
    const x = Float64Array.from({ length: count }, () => random.uniform(0, 100))
    const y = Float64Array.from({ length: count }, () => random.uniform(0, 100))
    const map = new TerminalMap(x, y, radius)
    for (let i = 0; i < 50; i++) {
      const at = [random.uniform(0, 100), random.uniform(0, 100)] as const
      const expected = [...x.keys()].filter((t) => Math.sqrt((at[0] - x[t]!) ** 2 + (at[1] - y[t]!) ** 2) < radius)
      assert.deepEqual(map.near(...at), expected)
      const picked = map.pick(...at, () => random.uniform(0, 1))
      assert.ok(expected.length === 0 ? picked === -1 : expected.includes(picked))
    }
  }
})
