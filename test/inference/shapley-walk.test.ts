import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { coalitionsOf, contributionsOf, eachCoalition, walkOrders } from '../../src/inference/shapley-walk.js'
import { exactShapley } from './shapley.js'

function walked(players: number, pairs: number, value: readonly number[]): Float64Array {
  const orders = walkOrders(players, pairs)
  const values: number[] = []
  eachCoalition(players, orders, (present) => values.push(value[present.reduce((set, there, player) => set | (there << player), 0)]!))
  assert.equal(values.length, coalitionsOf(players, orders.length))
  return contributionsOf(players, orders, Float64Array.from(values), 0)
}

/** A game whose players interact in groups of at most `degree`. */
function game(players: number, degree: number, seed: number): number[] {
  const prng = new Prng(seed)
  const terms = Array.from({ length: 12 }, () => ({ group: Array.from({ length: degree }, () => prng.below(players)), weight: prng.normal() }))
  return Array.from({ length: 1 << players }, (_, set) => terms.reduce((sum, { group, weight }) => sum + (group.every((player) => (set & (1 << player)) !== 0) ? weight : 0), 0))
}

const sumOf = (values: Iterable<number>): number => [...values].reduce((sum, value) => sum + value, 0)

test('one order forth and back gives the Shapley values of a game of pairs exactly', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.integer(), (players, seed) => {
      const value = game(players, 2, seed)
      const exact = exactShapley(players, value)
      walked(players, 1, value).forEach((contribution, player) => assert.ok(Math.abs(contribution - exact[player]!) < 1e-9))
    }),
  )
})

test('contributions sum up to the value of all less the value of none, whatever the game; more orders come nearer', () => {
  const errors = [1, 4, 16].map((pairs) => {
    let squares = 0
    for (let seed = 0; seed < 40; seed++) {
      const value = game(7, 4, seed)
      const exact = exactShapley(7, value)
      const contributions = walked(7, pairs, value)
      assert.ok(Math.abs(sumOf(contributions) - (value.at(-1)! - value[0]!)) < 1e-9)
      squares += sumOf(contributions.map((contribution, player) => (contribution - exact[player]!) ** 2))
    }
    return squares
  })
  assert.ok(errors[1]! < errors[0]! / 2 && errors[2]! < errors[1]! / 2, String(errors))
})
