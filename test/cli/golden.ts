import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = join('test', 'cli', 'golden')

/** Compares a text with test/cli/golden/<name>.txt; HARRIER_UPDATE_GOLDEN=1 writes the file instead, to be read before it is committed. */
export function matchesGolden(name: string, text: string): void {
  const file = join(folder, `${name}.txt`)
  if (process.env.HARRIER_UPDATE_GOLDEN === '1') writeFileSync(file, text)
  assert.ok(existsSync(file), `${file} is not there`)
  assert.equal(text, readFileSync(file, 'utf8'))
}
