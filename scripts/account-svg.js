// The pictures of account-risk in docs/results.md, from training/account.json; scripts/curves-svg.js writes them.
const size = { width: 640, height: 420, left: 64, right: 170, top: 40, bottom: 48 }
const colours = { 'account-risk': '#0969da', 'account-loss': '#0969da', 'account-row': '#cf222e', realised: '#1a7f37' }
const inside = { right: size.width - size.right, bottom: size.height - size.bottom }
const text = (at, down, content, more = '') => `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" ${more}>${content}</text>`
const legend = (entries) => entries.map(([name, colour], i) => `<rect x="${inside.right + 16}" y="${size.top + 4 + i * 20}" width="14" height="10" fill="${colour}"/>${text(inside.right + 36, size.top + 13 + i * 20, name)}`)

function framed(title, parts, across, down) {
  const middle = (size.top + inside.bottom) / 2
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12" fill="#24292f">`,
    `<rect width="${size.width}" height="${size.height}" fill="#ffffff"/>`, text(size.left, 22, title, 'font-size="14"'), ...parts,
    text((size.left + inside.right) / 2, size.height - 10, across, 'text-anchor="middle"'), text(16, middle, down, `text-anchor="middle" transform="rotate(-90 16 ${middle})"`), '</svg>', '',
  ].join('\n')
}

/** Mean score of each band against the share that came true, with the 95 % interval of that share; both axes by their square roots, since most scores are small. */
export function reliability({ models }) {
  const x = (value) => size.left + Math.sqrt(value) * (inside.right - size.left)
  const y = (value) => inside.bottom - Math.sqrt(value) * (inside.bottom - size.top)
  const ticks = [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
  const grid = ticks.map((t) => `<path d="M${x(t).toFixed(1)} ${y(0)}V${y(1)}M${x(0)} ${y(t).toFixed(1)}H${x(1)}" stroke="#d0d7de"/>${text(x(t), y(0) + 18, t, 'text-anchor="middle"')}${text(x(0) - 8, y(t) + 4, t, 'text-anchor="end"')}`)
  const lines = ['account-row', 'account-risk'].map((name) => {
    const points = models[name].calibration
    const path = points.map(({ meanScore, share }, i) => `${i === 0 ? 'M' : 'L'}${x(meanScore).toFixed(1)} ${y(share).toFixed(1)}`).join('')
    const marks = points.map(({ meanScore, share, low, high }) => `<path d="M${x(meanScore).toFixed(1)} ${y(low).toFixed(1)}V${y(high).toFixed(1)}" stroke="${colours[name]}"/><circle cx="${x(meanScore).toFixed(1)}" cy="${y(share).toFixed(1)}" r="3.5" fill="${colours[name]}"/>`)
    return `<path d="${path}" fill="none" stroke="${colours[name]}" stroke-width="1.6"/>${marks.join('')}`
  })
  const diagonal = `<path d="M${x(0)} ${y(0)}L${x(1)} ${y(1)}" stroke="#57606a" stroke-dasharray="5 4"/>`
  return framed('A fraud within seven days: what was said and what came', [...grid, diagonal, ...lines, ...legend([['account-risk', colours['account-risk']], ['account-row', colours['account-row']]])], 'mean score of the band', 'share with a fraud')
}

/** Expected and realised loss by tenths of the customers' days, those with the least expected first. */
export function lossByDecile({ models }) {
  const { deciles } = models['account-loss'].loss
  const most = Math.max(...deciles.flatMap(({ expected, realised }) => [expected, realised]))
  const y = (value) => inside.bottom - Math.sqrt(value / most) * (inside.bottom - size.top)
  const step = (inside.right - size.left) / deciles.length
  const ticks = [0, 1, 5, 10, 20, 40, 80, 160].filter((t) => t <= most)
  const grid = ticks.map((t) => `<path d="M${size.left} ${y(t).toFixed(1)}H${inside.right}" stroke="#d0d7de"/>${text(size.left - 8, y(t) + 4, t, 'text-anchor="end"')}`)
  const bars = deciles.map(({ decile, expected, realised }, i) => {
    const at = size.left + i * step
    const bar = (from, value, colour) => `<rect x="${(at + from * step).toFixed(1)}" y="${y(value).toFixed(1)}" width="${(step * 0.36).toFixed(1)}" height="${(inside.bottom - y(value)).toFixed(1)}" fill="${colour}"/>`
    return `${bar(0.12, expected, colours['account-loss'])}${bar(0.5, realised, colours.realised)}${text(at + step / 2, inside.bottom + 18, decile, 'text-anchor="middle"')}`
  })
  return framed('Loss within seven days, by tenths of the expected loss', [...grid, ...bars, ...legend([['account-loss', colours['account-loss']], ['realised', colours.realised]])], 'tenth of the customers\' days', 'mean loss of a day')
}
