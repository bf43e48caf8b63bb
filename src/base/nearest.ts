/** Edits between two words; one that holds the other is near. */
export function distanceOf(a: string, b: string): number {
  const holds = b.length >= 3 && a.length >= 3 && (a.includes(b) || b.includes(a))
  return holds ? 1 : edits(a, b)
}

/** The one of several words that was most likely meant; undefined where none is like it. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const wanted = word.toLowerCase()
  const farthest = Math.ceil(word.length / 3)
  let best: { readonly name: string; readonly far: number } | undefined
  for (const name of known) {
    const far = distanceOf(name.toLowerCase(), wanted)
    if (far <= farthest && (!best || far < best.far)) best = { name, far }
  }
  return best?.name
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
