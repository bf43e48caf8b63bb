import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Top to bottom, that is the data's way: a folder of src/ imports only from itself and from folders before it. */
const folderOrder = [
  'base', 'connection', 'object-store', 'privacy', 'codec', 'consumer', 'entity', 'features', 'inference', 'lineage', 'monitor', 'policy', 'producer', 'registry', 'replay', 'simulator', 'topology', 'audit', 'backtest', 'access', 'web', 'stack', 'soak', 'cli',
]
/** Ratchets: what is there may shrink and must not grow. Lower them when you can. */
const fileLinesMax = 450
const testFileLinesMax = 480
/** Longer ones, each with its own ratchet. */
const longFiles: Readonly<Record<string, number>> = { 'src/topology/engine.ts': 490 }
const functionLinesMax = 95
const linesWideMax = 265

function filesUnder(folder: string, pattern: RegExp): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}

const sources = filesUnder('src', /\.ts$/)
const tests = filesUnder('test', /\.ts$/)
const benches = filesUnder('bench', /\.ts$/)
const parsed = new Map([...sources, ...tests, ...benches].map((file) => [file, ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ES2022, true)]))

interface Import {
  readonly from: string
  readonly to: string
  readonly line: number
}

/** Relative imports of a file: static, dynamic, and `new URL('./x.js', import.meta.url)` of a thread or a process. */
function importsOf(file: string): Import[] {
  const source = parsed.get(file)!
  const found: Import[] = []
  const add = (node: ts.Node | undefined): void => {
    if (!node || !ts.isStringLiteralLike(node) || !/^\.\.?\//.test(node.text) || !node.text.endsWith('.js')) return
    const to = relative(root, resolve(root, dirname(file), node.text.replace(/\.js$/, '.ts')))
    found.push({ from: file, to, line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1 })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0])
    else if (ts.isNewExpression(node) && node.expression.getText() === 'URL') add(node.arguments?.[0])
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Longest functions of a file, by their lines. */
function functionsOf(file: string): { name: string; line: number; lines: number }[] {
  const source = parsed.get(file)!
  const found: { name: string; line: number; lines: number }[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const from = source.getLineAndCharacterOfPosition(node.getStart()).line
      const to = source.getLineAndCharacterOfPosition(node.getEnd()).line
      found.push({ name: node.name?.getText() ?? 'a function', line: from + 1, lines: to - from + 1 })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

const none = (problems: readonly string[]): void => assert.deepEqual(problems, [])

describe('tidy', () => {
  it('a folder of src imports only from itself and from folders above it', () => {
    const folderOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1]
    none(sources.filter((file) => folderOf(file) !== undefined && !folderOrder.includes(folderOf(file)!)).map((file) => `${file}: its folder is not in the order`))
    none(
      sources.flatMap(importsOf).flatMap(({ from, to, line }) => {
        const importer = folderOf(from)
        const imported = folderOf(to)
        if (importer === undefined || imported === undefined) return []
        return folderOrder.indexOf(imported) <= folderOrder.indexOf(importer) ? [] : [`${from}:${line}: ${importer} must not import ${imported}`]
      }),
    )
  })

  it('src imports nothing from test', () => {
    none([...sources, ...benches].flatMap(importsOf).filter(({ to }) => to.startsWith('test/')).map(({ from, line, to }) => `${from}:${line}: ${to}`))
  })

  it('every file of src is reachable from an entry', () => {
    const entries = ['src/main.ts', 'src/index.ts', ...benches, ...filesUnder('bin', /\.js$/)]
    const reached = new Set<string>()
    const queue = entries.filter((file) => parsed.has(file))
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      if (reached.has(file)) continue
      reached.add(file)
      for (const { to } of importsOf(file)) if (parsed.has(to)) queue.push(to)
    }
    none(sources.filter((file) => !reached.has(file)))
  })

  it('every import is of a file that is there', () => {
    none([...parsed.keys()].flatMap(importsOf).filter(({ to }) => to.startsWith('src/') && !parsed.has(to)).map(({ from, line, to }) => `${from}:${line}: ${to}`))
  })

  it(`no file of src has more than ${fileLinesMax} lines, no test more than ${testFileLinesMax}, none a line of more than ${linesWideMax} characters`, () => {
    none(
      [...parsed].flatMap(([file, source]) => {
        const lines = source.text.split('\n')
        const wide = lines.findIndex((line) => line.length > linesWideMax)
        return [...(lines.length - 1 > (longFiles[file] ?? (file.startsWith('test/') ? testFileLinesMax : fileLinesMax)) ? [`${file} has ${lines.length} lines`] : []), ...(wide >= 0 ? [`${file}:${wide + 1} has ${lines[wide]!.length} characters`] : [])]
      }),
    )
  })

  it(`no function of src has more than ${functionLinesMax} lines`, () => {
    none(sources.flatMap((file) => functionsOf(file).filter(({ lines }) => lines > functionLinesMax).map(({ name, line, lines }) => `${file}:${line}: ${name} has ${lines} lines`)))
  })

  it('file names are kebab-case, and none is called utils', () => {
    const bad = (file: string): boolean => !/^[a-z0-9]+([.-][a-z0-9]+)*$/.test(file.split('/').at(-1)!) || /(^|\/)(utils?|helpers?|misc|common)\.ts$/.test(file)
    none([...parsed.keys()].filter(bad))
  })

  it('nothing is left for later, and no test is left out', () => {
    const later = /\b(TODO|FIXME|XXX|HACK)\b/
    const leftOut = /\b(it|test|describe)\.(only|skip|todo)\(/
    none(
      [...parsed].filter(([file]) => file !== 'test/tidy.test.ts').flatMap(([file, source]) =>
        source.text.split('\n').flatMap((line, index) => (later.test(line) || (file.startsWith('test/') && leftOut.test(line)) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
      ),
    )
  })

  it('each test file mirrors what it tests, or stands in a folder of its own kind', () => {
    const kinds = new Set(['broker', 'simulation', 'golden', 'docs'])
    const folders = new Set(sources.map((file) => file.split('/')[1]!))
    none(tests.filter((file) => file.split('/').length > 2 && !kinds.has(file.split('/')[1]!) && !folders.has(file.split('/')[1]!)))
  })
})
