const blocks = '▁▂▃▄▅▆▇█'

/** The newest `columns` values as blocks, scaled to the largest of them; 0 is a space. */
export function sparkline(values: readonly number[], columns: number): string {
  const shown = values.slice(-columns)
  const top = Math.max(...shown, 1)
  const line = shown.map((value) => (value <= 0 ? ' ' : blocks[Math.min(blocks.length - 1, Math.floor((value / top) * blocks.length))]!))
  return line.join('').padStart(columns)
}
