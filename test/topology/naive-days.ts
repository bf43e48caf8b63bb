import { dayMs, type Card } from './card-events.js'

interface Entity {
  /** In the order of their times; of equal ones in that of their arrival. */
  events: { timeMs: number; amount: number; terminal: string }[]
  newestMs: number
  hasRow: boolean
}

/**
 * The rows that days leave, in the plainest way: whenever stream time moves, every day that has ended by then is turned for every
 * entity, before the event is taken. Features as in the test's topology. By `<entity>@<date>`: [it begins anew, row] as JSON.
 */
export function naiveDays(cards: readonly Card[], { ring, graceMs, ttlMs }: { ring: number; graceMs: number; ttlMs: number }): Map<string, string> {
  const rows = new Map<string, string>()
  const entities = new Map<string, Entity>()
  let streamMs = 0
  let ended = -1
  const turnTo = (day: number): void => {
    for (; ended < day; ended++) {
      const endMs = (ended + 1) * dayMs - 1
      for (const [key, entity] of entities) {
        const within = (fromMs: number): Entity['events'] => entity.events.filter(({ timeMs }) => timeMs > fromMs && timeMs <= endMs)
        if (within(endMs - ring * dayMs).length === 0) {
          entity.hasRow = false
          continue
        }
        const day = within(endMs - dayMs).map(({ amount }) => amount)
        const three = within(endMs - 3 * dayMs).map(({ amount }) => amount)
        const sum = three.reduce((total, amount) => total + amount, 0)
        const mean = sum / three.length
        let squares = 0
        for (const amount of three) squares += (amount - mean) * (amount - mean)
        const terminals = new Set(within(endMs - 2 * dayMs).map(({ terminal }) => terminal))
        const scale = 0.00001
        const row = [day.length, sum * scale, day.length === 0 ? 0 : Math.max(...day) * scale, three.length === 0 ? 0 : Math.sqrt(squares / three.length) * scale, terminals.size]
        const date = new Date(ended * dayMs).toISOString().slice(0, 10)
        rows.set(`${key}@${date}`, JSON.stringify([!entity.hasRow, [...Float32Array.from(row)]]))
        entity.hasRow = true
      }
    }
  }
  for (const { event_time: timeMs, customer_id: key, amount_minor: amount, terminal_id: terminal } of cards) {
    streamMs = Math.max(streamMs, timeMs)
    const day = Math.floor((streamMs - graceMs) / dayMs)
    if (ended < 0) ended = day
    turnTo(day)
    if (timeMs + graceMs < streamMs) continue
    let entity = entities.get(key)
    if (!entity || entity.newestMs + ttlMs < streamMs) entities.set(key, (entity = { events: [], newestMs: timeMs, hasRow: false }))
    const place = entity.events.filter((event) => event.timeMs <= timeMs).length
    entity.events.splice(place, 0, { timeMs, amount, terminal })
    entity.newestMs = Math.max(entity.newestMs, timeMs)
  }
  return rows
}
