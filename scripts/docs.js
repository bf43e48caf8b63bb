// Fills the generated parts of README.md and docs/*.md from the code as it was compiled into dist/.
//   node scripts/docs.js           writes
//   node scripts/docs.js --check   exit code 1 when a part is not as the code says
// A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; scripts/docs-parts.js makes them.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { globSync } from './glob.js'

export const root = fileURLToPath(new URL('..', import.meta.url))
const partPattern = /(<!-- generated: ([a-z-]+) -->\n)([\s\S]*?)(<!-- end -->)/g

/** README.md and every Markdown file under docs/, as paths relative to the repository. */
export function documents() {
  return ['README.md', ...globSync(join(root, 'docs'), /\.md$/).map((file) => file.slice(root.length))]
}

/** What a document should say: its text with every generated part made anew. Throws for a part that nobody makes. */
export async function rendered(text, parts) {
  const made = new Map()
  for (const [, , name] of text.matchAll(partPattern)) {
    if (!(name in parts)) throw new Error(`no part is called ${name}; scripts/docs-parts.js makes ${Object.keys(parts).join(', ')}`)
    if (!made.has(name)) made.set(name, await parts[name]())
  }
  return text.replace(partPattern, (_, begin, name, __, end) => `${begin}${made.get(name).trimEnd()}\n${end}`)
}

/** Documents whose generated parts differ from the code, with their right text. */
export async function staleDocuments() {
  const { parts } = await import('./docs-parts.js')
  const stale = []
  for (const file of documents()) {
    const text = readFileSync(join(root, file), 'utf8')
    const right = await rendered(text, parts)
    if (right !== text) stale.push({ file, right })
  }
  return stale
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const stale = await staleDocuments()
  const check = process.argv.includes('--check')
  for (const { file, right } of stale) {
    if (!check) writeFileSync(join(root, file), right)
    console.log(`${check ? 'differs from the code' : 'written'}: ${file}`)
  }
  if (stale.length === 0) console.log('documents say what the code says')
  // Native libraries that were loaded for the tables keep the process alive.
  process.exit(check && stale.length > 0 ? 1 : 0)
}
