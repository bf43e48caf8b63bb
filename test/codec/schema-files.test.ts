import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { HarrierError } from '../../src/base/errors.js'
import { loadSchemaFile, loadSchemaFolder } from '../../src/codec/schema-files.js'

test('the package brings its seven schemas', () => {
  assert.deepEqual([...loadSchemaFolder().keys()], ['alert', 'label', 'lineage', 'release', 'scored-event', 'stage-models', 'transaction'])
})

test('a schema file that is missing or wrong is refused with its path and the place in it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-schemas-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const refuse = (name: string, text: string | undefined, message: RegExp): void => {
    const file = join(folder, name)
    if (text !== undefined) writeFileSync(file, text)
    assert.throws(
      () => loadSchemaFile(file),
      (error) => error instanceof HarrierError && error.code === 'SCHEMA_INVALID' && error.message.startsWith(file) && message.test(error.message),
    )
  }
  refuse('absent.avsc', undefined, /cannot be read: ENOENT/)
  refuse('broken.avsc', '{"type":', /is not JSON/)
  refuse('array.avsc', '[]', /not an Avro record schema/)
  refuse('unknown.avsc', '{"type":"record","name":"R","fields":[{"name":"a","type":"money"}]}', /schema\.a: unknown type "money"/)
  refuse('nameless.avsc', '{"type":"record","fields":[]}', /a record without name/)
  refuse('twice.avsc', '{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}', /declared twice/)
})
