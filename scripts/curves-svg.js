// node scripts/curves-svg.js      Draws docs/precision-recall-*.svg from training/figures.json and docs/account-*.svg from training/account.json; --check: exit code 1 when a picture is not as the figures say.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { lossByDecile, reliability } from './account-svg.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const size = { width: 640, height: 420, left: 56, right: 200, top: 40, bottom: 48 }
const colours = ['#0969da', '#cf222e', '#1a7f37', '#8250df', '#9a6700', '#bf3989']

const x = (recall) => size.left + recall * (size.width - size.left - size.right)
const y = (precision) => size.top + (1 - precision) * (size.height - size.top - size.bottom)
const path = (curve) => curve.map((precision, i) => `${i === 0 ? 'M' : 'L'}${x((i + 1) / curve.length).toFixed(1)} ${y(precision).toFixed(1)}`).join('')
const text = (at, down, content, more = '') => `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" ${more}>${content}</text>`

/** An SVG of the curves of one set: { name: [precision at recall 1/n, 2/n, … 1] }; the bound is dashed. */
function drawn(title, curves) {
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
  const grid = ticks.map((t) => `<path d="M${x(t)} ${y(0)}V${y(1)}M${x(0)} ${y(t)}H${x(1)}" stroke="#d0d7de"/>${text(x(t), y(0) + 18, t, 'text-anchor="middle"')}${text(x(0) - 8, y(t) + 4, t, 'text-anchor="end"')}`)
  const lines = Object.entries(curves).map(([name, curve], i) => {
    const colour = name === 'bound' ? '#57606a' : colours[i % colours.length]
    const down = size.top + 12 + i * 20
    const dash = name === 'bound' ? ' stroke-dasharray="5 4"' : ''
    return `<path d="${path(curve)}" fill="none" stroke="${colour}" stroke-width="1.6"${dash}/><path d="M${x(1) + 16} ${down - 4}h22" stroke="${colour}" stroke-width="2"${dash}/>${text(x(1) + 44, down, name)}`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12" fill="#24292f">`,
    `<rect width="${size.width}" height="${size.height}" fill="#ffffff"/>`, text(x(0), 22, title, 'font-size="14"'), ...grid, ...lines,
    text((x(0) + x(1)) / 2, size.height - 10, 'recall', 'text-anchor="middle"'), text(16, y(0.5), 'precision', `text-anchor="middle" transform="rotate(-90 16 ${y(0.5)})"`), '</svg>', '',
  ].join('\n')
}

/** File -> content. */
export function pictures() {
  const { bound, stream, book } = JSON.parse(readFileSync(`${root}training/figures.json`, 'utf8'))
  const account = JSON.parse(readFileSync(`${root}training/account.json`, 'utf8'))
  const of = (entries, set) => ({ ...Object.fromEntries(Object.entries(entries).map(([name, { sets }]) => [name, sets[set].curve])), bound: bound.bound.sets[set].curve })
  return {
    'precision-recall-book.svg': drawn('Book protocol, its four test sets', of(book, 'book')),
    'precision-recall-stream.svg': drawn('Stream protocol, the book\'s four test sets', of(stream, 'book')),
    'account-reliability.svg': reliability(account),
    'account-loss.svg': lossByDecile(account),
    'precision-recall-every-payment.svg': drawn('Stream protocol, every payment of the four weeks', of(stream, 'every')),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const stale = Object.entries(pictures()).filter(([file, content]) => {
    try {
      return readFileSync(`${root}docs/${file}`, 'utf8') !== content
    } catch {
      return true
    }
  })
  const check = process.argv.includes('--check')
  for (const [file, content] of stale) {
    if (!check) writeFileSync(`${root}docs/${file}`, content)
    console.log(`${check ? 'differs from the figures' : 'written'}: docs/${file}`)
  }
  process.exit(check && stale.length > 0 ? 1 : 0)
}
