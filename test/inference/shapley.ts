/** Shapley values by their definition: value[S] for each set S of players, as bits. For tests: 2^players values. */
export function exactShapley(players: number, value: readonly number[]): number[] {
  const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1))
  return Array.from({ length: players }, (_, player) => {
    let sum = 0
    for (let set = 0; set < 1 << players; set++) {
      if ((set & (1 << player)) !== 0) continue
      let size = 0
      for (let rest = set; rest !== 0; rest &= rest - 1) size++
      sum += ((factorial(size) * factorial(players - size - 1)) / factorial(players)) * (value[set | (1 << player)]! - value[set]!)
    }
    return sum
  })
}
