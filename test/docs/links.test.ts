import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import { readDocuments, root } from './documents.js'

/** The id that a forge gives to a heading. */
function slugOf(heading: string): string {
  return heading.replace(/[`*]/g, '').trim().toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
}

function anchorsOf(markdown: string): Set<string> {
  const text = markdown.replace(/^```[\s\S]*?^```/gm, '')
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map((match) => slugOf(match[1]!))
  return new Set([...headings, ...[...text.matchAll(/<a id="([^"]+)">/g)].map((match) => match[1]!)])
}

describe('links of the documentation', () => {
  it('lead to files that exist, and to headings in them', async () => {
    for (const [file, text] of await readDocuments()) {
      const prose = text.replace(/^```[\s\S]*?^```/gm, '')
      for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target!)) continue
        const [path, anchor] = target!.split('#') as [string, string?]
        const found = path === '' ? file : normalize(join(dirname(file), path))
        assert.ok(existsSync(join(root, found)), `${file} links to ${target}, and there is no ${found}`)
        if (anchor !== undefined) assert.ok(anchorsOf(readFileSync(join(root, found), 'utf8')).has(anchor), `${file} links to ${target}, and ${found} has no such heading`)
      }
    }
  })

  it('source files named in prose exist', async () => {
    for (const [file, text] of await readDocuments()) {
      for (const [, path] of text.matchAll(/`((?:src|test|scripts|docs|schemas|topologies|models)\/[\w./-]+\.\w+)`/g)) {
        assert.ok(existsSync(join(root, path!)), `${file} names ${path}`)
      }
    }
  })
})
