/** Ten numbers a decade, each about a quarter more than the one before (the R10 series of ISO 3). */
const preferred = [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8]
const decades = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
/** Upper half of the scale mirrors the lower one: 0.999 is as far from 0.99 as 0.001 is from 0.01. */
const lower = decades.flatMap((decade) => preferred.map((number) => number * decade)).filter((edge) => edge < 0.5)
/** Bin b holds scores from edge b-1 up to edge b. */
const edges = Float64Array.from([...lower, 0.5, ...lower.map((edge) => 1 - edge).reverse()])

/** A group of neighbouring bins holds at least this part of the reference. */
const groupShareMin = 0.05
/** Added to each group's count, so that an empty one has a finite logarithm. */
const smoothing = 0.5

/** How scores lie in [0, 1], in bins that are narrow near both ends, where scores of rare events lie. */
export class ScoreHistogram {
  readonly counts = new Uint32Array(edges.length + 1)
  total = 0

  add(score: number): void {
    let low = 0
    let high = edges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (score >= edges[middle]!) low = middle + 1
      else high = middle
    }
    this.counts[low]!++
    this.total++
  }

  merge(other: ScoreHistogram): void {
    for (let bin = 0; bin < this.counts.length; bin++) this.counts[bin]! += other.counts[bin]!
    this.total += other.total
  }

  reset(): void {
    this.counts.fill(0)
    this.total = 0
  }
}

/**
 * Population stability index of scores against a reference: the sum over groups of (p - q) ln(p / q). Below 0.1 they lie alike, above
 * 0.25 they do not, as credit risk has it (Siddiqi, Credit Risk Scorecards). Groups are neighbouring bins with at least a
 * twentieth of the reference each. NaN where one of them is empty.
 */
export function populationStability(reference: ScoreHistogram, scores: ScoreHistogram): number {
  if (reference.total === 0 || scores.total === 0) return NaN
  const groups: { reference: number; scores: number }[] = []
  let open = { reference: 0, scores: 0 }
  for (let bin = 0; bin < reference.counts.length; bin++) {
    open.reference += reference.counts[bin]!
    open.scores += scores.counts[bin]!
    if (open.reference < groupShareMin * reference.total) continue
    groups.push(open)
    open = { reference: 0, scores: 0 }
  }
  // What lies above the last group, however little the reference has there, is where a bad model's scores go.
  if (open.scores > 0 || open.reference > 0) groups.push(open)
  const whole = smoothing * groups.length
  return groups.reduce((sum, group) => {
    const p = (group.scores + smoothing) / (scores.total + whole)
    const q = (group.reference + smoothing) / (reference.total + whole)
    return sum + (p - q) * Math.log(p / q)
  }, 0)
}
