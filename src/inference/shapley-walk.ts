import { Prng } from '../base/prng.js'

/**
 * Orders in which `players` are taken away, forth and back: [2 * pairs][players]. The first is that of the players
 * themselves, the others are drawn, always the same for as many players.
 */
export function walkOrders(players: number, pairs: number): Int32Array[] {
  const orders: Int32Array[] = []
  for (let pair = 0; pair < pairs; pair++) {
    const order = Int32Array.from({ length: players }, (_, index) => index)
    const prng = new Prng(pair)
    for (let i = players - 1; i > 0 && pair > 0; i--) {
      const j = prng.below(i + 1)
      const swapped = order[i]!
      order[i] = order[j]!
      order[j] = swapped
    }
    orders.push(order, order.slice().reverse())
  }
  return orders
}

/** Coalitions of one event: all, none, and along each order those between. */
export function coalitionsOf(players: number, orders: number): number {
  return players === 0 ? 1 : 2 + orders * (players - 1)
}

/** The coalitions, in the order in which `contributionsOf` wants their values: 1 = the player is there. `present` is used again. */
export function eachCoalition(players: number, orders: readonly Int32Array[], visit: (present: Uint8Array) => void): void {
  const present = new Uint8Array(players).fill(1)
  visit(present)
  if (players === 0) return
  visit(present.fill(0))
  for (const order of orders) {
    present.fill(1)
    for (let k = 0; k < players - 1; k++) {
      present[order[k]!] = 0
      visit(present)
    }
  }
}

/**
 * What each player contributes to value(all) - value(none): the mean, over the orders, of what is lost when it is taken away.
 * The contributions sum up to that difference. Where players interact in pairs at most, an order and its reverse give the
 * Shapley values exactly (each pair's share is split in halves); otherwise they are estimates that more orders improve.
 * Source: Castro, Gómez, Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009, with each order reversed too.
 */
export function contributionsOf(players: number, orders: readonly Int32Array[], values: Float64Array, at: number): Float64Array {
  const contributions = new Float64Array(players)
  if (players === 0) return contributions
  const none = values[at + 1]!
  let next = at + 2
  for (const order of orders) {
    let before = values[at]!
    for (let k = 0; k < players; k++) {
      const after = k === players - 1 ? none : values[next++]!
      contributions[order[k]!]! += before - after
      before = after
    }
  }
  for (let p = 0; p < players; p++) contributions[p]! /= orders.length
  return contributions
}
