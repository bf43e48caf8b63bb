import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'

export const root = fileURLToPath(new URL('../../../', import.meta.url))

interface DocsScript {
  documents(): string[]
  staleDocuments(): Promise<{ file: string; right: string }[]>
}
interface PartsScript {
  allCommands(): { path: string; command: Command }[]
}

/** scripts/docs.js, which is not compiled and has no types. */
export async function docsScript(): Promise<DocsScript> {
  return (await import(`${root}scripts/docs.js`)) as DocsScript
}

export async function partsScript(): Promise<PartsScript> {
  return (await import(`${root}scripts/docs-parts.js`)) as PartsScript
}

/** Markdown by path relative to the repository. */
export async function readDocuments(): Promise<Map<string, string>> {
  const files = [...(await docsScript()).documents(), 'training/README.md']
  return new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
}

/** Fenced blocks of a language. */
export function codeBlocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]!)
}

/** Code as a reader sees it: fenced and indented blocks, and what stands between backticks. */
export function codeOf(markdown: string): string {
  const fenced = [...markdown.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map((match) => match[1]!)
  const rest = markdown.replace(/^```[\s\S]*?^```/gm, '')
  const indented = rest.split('\n').filter((line) => line.startsWith('    '))
  const inline = [...rest.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!)
  return [...fenced, ...indented, ...inline].join('\n')
}
