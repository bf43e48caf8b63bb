import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { errorCatalogue } from '../../src/base/errors.js'
import { docsScript, readDocuments, root } from './documents.js'

describe('documentation and code', () => {
  it('tables and examples in the documents are those that the code gives: `node scripts/docs.js` writes them', async () => {
    const stale = await (await docsScript()).staleDocuments()
    assert.deepEqual(stale.map(({ file }) => file), [])
  })

  it('curves in the pictures are those of training/figures.json: `node scripts/curves-svg.js` draws them', async () => {
    const { pictures } = (await import(`${root}scripts/curves-svg.js`)) as { pictures(): Record<string, string> }
    for (const [file, content] of Object.entries(pictures())) assert.equal(readFileSync(join(root, 'docs', file), 'utf8'), content, file)
  })

  it('every error has a row in errors.md and advice in operations.md, and neither names one that does not exist', async () => {
    const documents = await readDocuments()
    const codes = Object.keys(errorCatalogue).sort()
    const inErrors = [...documents.get('docs/errors.md')!.matchAll(/<a id="([A-Z_]+)">/g)].map((match) => match[1]!).sort()
    const inOperations = [...documents.get('docs/operations.md')!.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]!).sort()
    assert.deepEqual(inErrors, codes)
    assert.deepEqual(inOperations, codes)
  })

  it('a word that looks like an error code is one', async () => {
    const variables = ['HARRIER_BROKERS', 'HARRIER_OPENLINEAGE_TOPIC', 'OPENLINEAGE_API_KEY', 'OPENLINEAGE_DISABLED', 'OPENLINEAGE_ENDPOINT', 'OPENLINEAGE_NAMESPACE', 'OPENLINEAGE_URL',
      'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_ENDPOINT_URL', 'HARRIER_MODEL_CACHE',
      'HARRIER_CONNECTION', 'HARRIER_HEALTH', 'HARRIER_PRIVACY_KEYS', 'FUZZ_REQUESTS', 'HARRIER_REGISTRY', 'HARRIER_STATE_DIR']
    const others = new Set([...variables, 'KAFKA_PASSWORD', 'OAUTH_SECRET', 'ONNXRUNTIME_NODE_INSTALL', 'LD_LIBRARY_PATH', 'CONCURRENT_TRANSACTIONS'])
    for (const [file, text] of await readDocuments()) {
      for (const [word] of text.matchAll(/\b(?!OTEL_)[A-Z]{3,}(?:_[A-Z]+)+\b/g)) assert.ok(word in errorCatalogue || others.has(word), `${file}: ${word}`)
    }
  })
})
