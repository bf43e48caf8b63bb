/** A card on a day: its highest score, and whether it had a fraud. */
export interface CardDay {
  readonly day: number
  readonly card: string
  readonly isFraud: boolean
}

const daysOfWeek = 7

/**
 * Card precision@k: for each day the k cards with the highest scores, without those whose fraud was found on an earlier day of
 * the week; the share of them that had a fraud that day; mean over the days. Weeks begin with the first day, and only whole ones
 * count, where there is one. Source: Fraud Detection Handbook, chapter 4, whose test set is one week.
 *
 * Memory: the cards of a week whose frauds were found.
 */
export class CardPrecision {
  readonly #top: number
  readonly #detected = new Set<string>()
  #first = NaN
  #day = NaN
  #week = 0
  #taken = 0
  #found: string[] = []
  /** Of whole weeks, and of the week that is going on. */
  readonly #whole = { sum: 0, days: 0 }
  #going = { sum: 0, days: 0 }

  constructor(top: number) {
    this.#top = top
  }

  /** Days in their order, within a day the highest score first. */
  add({ day, card, isFraud }: CardDay): void {
    if (day !== this.#day) this.#begin(day)
    if (this.#taken === this.#top || this.#detected.has(card)) return
    this.#taken++
    if (isFraud) this.#found.push(card)
  }

  /** NaN where there was no day. */
  value(): number {
    this.#endDay()
    if (this.#day - this.#first + 1 === (this.#week + 1) * daysOfWeek) this.#endWeek()
    const { sum, days } = this.#whole.days > 0 ? this.#whole : this.#going
    return sum / days
  }

  #begin(day: number): void {
    if (Number.isNaN(this.#first)) this.#first = day
    this.#endDay()
    const week = Math.floor((day - this.#first) / daysOfWeek)
    if (week !== this.#week) this.#endWeek()
    this.#week = week
    this.#day = day
  }

  #endDay(): void {
    if (Number.isNaN(this.#day)) return
    this.#going.sum += this.#found.length / this.#top
    this.#going.days++
    for (const card of this.#found) this.#detected.add(card)
    this.#taken = 0
    this.#found = []
  }

  #endWeek(): void {
    this.#whole.sum += this.#going.sum
    this.#whole.days += this.#going.days
    this.#going = { sum: 0, days: 0 }
    this.#detected.clear()
  }
}
