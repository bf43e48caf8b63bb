// Lines over the last minutes, as SVG. What is drawn is also said in words, for those who cannot see it.

const svg = 'http://www.w3.org/2000/svg'
const width = 300
const height = 100

/** The next of 1, 2, 5, 10, 20, … that is not below the value. */
export function niceMax(value) {
  if (!(value > 0)) return 1
  let step = 1
  while (step * 10 <= value) step *= 10
  while (step > value) step /= 10
  return [1, 2, 5, 10].map((times) => times * step).find((each) => each >= value * 0.999)
}

function element(name, attributes) {
  const made = document.createElementNS(svg, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

/**
 * `series`: one or two of {label, values}; values by second, the newest last, null where there is none. `format` makes a text of a value.
 */
export function plot(target, series, { format, slots, empty }) {
  const all = series.flatMap(({ values }) => values.filter((value) => value !== null))
  if (all.length === 0) {
    const none = document.createElement('p')
    none.className = 'empty'
    none.textContent = empty
    return target.replaceChildren(none)
  }
  const max = niceMax(Math.max(...all))
  const drawing = element('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img' })
  for (const part of [0, 0.5, 1]) drawing.append(element('line', { class: 'axis', x1: 0, x2: width, y1: height * part, y2: height * part }))
  const said = []
  series.forEach(({ label, values }, index) => {
    const x = (at) => (width * (slots - values.length + at)) / Math.max(1, slots - 1)
    const y = (value) => height - (height * Math.min(value, max)) / max
    const name = index === 0 ? 'first' : 'second'
    // A gap where nothing was measured.
    const runs = []
    values.forEach((value, at) => {
      if (value === null) return
      if (at === 0 || values[at - 1] === null) runs.push([])
      runs.at(-1).push(`${x(at).toFixed(1)},${y(value).toFixed(1)}`)
    })
    for (const points of runs) {
      if (index === 0 && points.length > 1) drawing.append(element('polygon', { class: 'first-area', points: `${points[0].split(',')[0]},${height} ${points.join(' ')} ${points.at(-1).split(',')[0]},${height}` }))
      drawing.append(element('polyline', { class: name, points: points.length === 1 ? `${points[0]} ${points[0]}` : points.join(' ') }))
    }
    const newest = values.findLast((value) => value !== null)
    said.push(`${label} ${newest === undefined ? 'unknown' : format(newest)}`)
  })
  drawing.setAttribute('aria-label', `${said.join(', ')}; the scale goes to ${format(max)}`)
  const legend = document.createElement('div')
  legend.className = 'legend'
  said.forEach((text, index) => {
    const key = document.createElement('span')
    key.className = index === 0 ? 'key-first' : 'key-second'
    key.textContent = text
    legend.append(key)
  })
  const scale = document.createElement('span')
  scale.textContent = `max ${format(max)} · 3 min`
  legend.append(scale)
  target.replaceChildren(drawing, legend)
}
