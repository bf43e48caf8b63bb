import type { ScaleAxis, ScaleBenchResult } from './scale.js'

const panel = { width: 250, height: 190, left: 14, top: 40, bottom: 34, gap: 10 }
const columns = 3
const titles: Readonly<Record<ScaleAxis, string>> = {
  entities: 'entities', partitions: 'partitions', processes: 'processes', workers: 'threads that run models', 'hot-key': 'share of one card', payload: 'bytes of a record',
}

/** Events/s over each axis, a panel of bars each. */
export function scaleSvg({ points, repeats }: ScaleBenchResult): string {
  const axes = [...new Set(points.map(({ axis }) => axis))]
  const width = Math.min(columns, axes.length) * panel.width
  const height = Math.ceil(axes.length / columns) * panel.height + 26
  const panels = axes.map((axis, index) => {
    const shown = points.filter((point) => point.axis === axis)
    const highest = Math.max(...shown.map(({ perSecond }) => perSecond))
    const [left, top] = [(index % columns) * panel.width + panel.left, Math.floor(index / columns) * panel.height + 26]
    const barWidth = (panel.width - 2 * panel.left - panel.gap * (shown.length - 1)) / shown.length
    const floor = top + panel.height - panel.bottom
    const bars = shown.map(({ value, perSecond }, place) => {
      const x = left + place * (barWidth + panel.gap)
      const bar = (perSecond / highest) * (panel.height - panel.top - panel.bottom)
      const middle = (x + barWidth / 2).toFixed(1)
      return [
        `<rect x="${x.toFixed(1)}" y="${(floor - bar).toFixed(1)}" width="${barWidth.toFixed(1)}" height="${bar.toFixed(1)}" fill="#0969da"/>`,
        `<text x="${middle}" y="${(floor - bar - 4).toFixed(1)}" text-anchor="middle" font-size="10">${Math.round(perSecond / 1000)}k</text>`,
        `<text x="${middle}" y="${floor + 14}" text-anchor="middle" font-size="10">${valueText(axis, value)}</text>`,
      ].join('')
    })
    return `<text x="${left}" y="${top + 14}" font-size="12">${titles[axis]}</text>${bars.join('')}<path d="M${left} ${floor}h${panel.width - 2 * panel.left}" stroke="#57606a"/>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" fill="#24292f">`, `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${panel.left}" y="18" font-size="13">events/s, ${runsText(repeats)}</text>`, ...panels, '</svg>', '',
  ].join('\n')
}

function valueText(axis: ScaleAxis, value: number): string {
  if (axis === 'hot-key') return `${value * 100} %`
  if (value >= 1e6) return `${value / 1e6}M`
  return value >= 1e3 ? `${value / 1e3}k` : String(value)
}

export function runsText(repeats: number): string {
  return repeats === 1 ? 'one run of each' : `medians of ${repeats} runs in turns`
}
