// Makes docs/npm-start.svg from a terminal's screen, colours included. To take the picture again:
//   tmux -L picture new-session -d -x 100 -y 30 'node bin/harrier.js start'; sleep 60
//   tmux -L picture capture-pane -eNp | node scripts/terminal-svg.js > docs/npm-start.svg; tmux -L picture kill-server
import { readFileSync } from 'node:fs'

const columnWidth = 8.43
const lineHeight = 18
const margin = 16
const colours = { 30: '#484f58', 31: '#ff7b72', 32: '#3fb950', 33: '#d29922', 34: '#58a6ff', 35: '#bc8cff', 36: '#39c5cf', 37: '#e6edf3' }

/** Words of one style, each at its own column, so that a font of other widths moves nothing: { column, text, bold, dim, reverse, colour }. */
function runsOf(line) {
  const runs = []
  let style = { bold: false, dim: false, reverse: false, colour: '#e6edf3' }
  let column = 0
  for (const part of line.split(/(\x1b\[[0-9;]*m)/)) {
    const codes = /^\x1b\[([0-9;]*)m$/.exec(part)
    if (!codes) {
      for (const piece of style.reverse ? [part] : part.split(/(\s{2,})/)) {
        if (style.reverse || piece.trim() !== '') {
          const lead = style.reverse ? 0 : piece.length - piece.trimStart().length
          runs.push({ column: column + lead, text: style.reverse ? piece : piece.trim(), ...style })
        }
        column += [...piece].length
      }
      continue
    }
    for (const code of codes[1].split(';').map(Number)) {
      if (code === 0) style = { bold: false, dim: false, reverse: false, colour: '#e6edf3' }
      else if (code === 1) style = { ...style, bold: true }
      else if (code === 2) style = { ...style, dim: true }
      else if (code === 7) style = { ...style, reverse: true }
      else if (code === 27) style = { ...style, reverse: false }
      else if (code === 39) style = { ...style, colour: '#e6edf3' }
      else if (colours[code] ?? colours[code - 60]) style = { ...style, colour: colours[code] ?? colours[code - 60] }
    }
  }
  return runs
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

const lines = readFileSync(0, 'utf8').replace(/\n+$/, '').split('\n')
const columns = Math.max(...lines.map((line) => [...line.replace(/\x1b\[[0-9;]*m/g, '')].length))
const width = Math.ceil(columns * columnWidth + 2 * margin)
const height = lines.length * lineHeight + 2 * margin
const texts = lines.flatMap((line, row) =>
  runsOf(line)
    .map(({ column, text, bold, dim, reverse, colour }) => {
      const x = (margin + column * columnWidth).toFixed(1)
      const y = margin + row * lineHeight
      const length = ([...text].length * columnWidth).toFixed(1)
      const back = reverse ? `<rect x="${x}" y="${y}" width="${length}" height="${lineHeight}" fill="${colour}"/>` : ''
      const look = `${bold ? ' font-weight="bold"' : ''}${dim ? ' opacity="0.6"' : ''}`
      return `${back}<text x="${x}" y="${y + 13}" textLength="${length}" fill="${reverse ? '#0d1117' : colour}"${look} xml:space="preserve">${escape(text)}</text>`
    }),
)
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="The live view of npm start" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>
${texts.join('\n')}
</svg>
`)
