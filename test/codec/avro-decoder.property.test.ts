import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { compileAvroDecoder } from '../../src/codec/avro-compiler.js'
import { parseAvroSchema } from '../../src/codec/avro-schema.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { decodeAll, fakeRegistry, fillRecords, readRows, withPrefix } from './decode-fixture.js'
import { avscType, expectedCell, randomFields, randomRecord, type RandomType } from './random-avro.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'

interface Case {
  readonly type: RandomType
  readonly fields: readonly FieldSpec[]
  readonly values: readonly unknown[]
  readonly encoded: readonly Buffer[]
}

/** A random schema whose fields can be read, with values that avsc has written. */
function randomCase(seed: number): Case | undefined {
  const prng = new Prng(seed)
  const type = randomRecord(prng)
  const fields = randomFields(type, prng)
  if (fields.length === 0) return undefined
  try {
    compileAvroDecoder(parseAvroSchema(type.schema), fields)
  } catch {
    return undefined
  }
  const peer = avscType(type.schema)
  const values = Array.from({ length: 5 }, () => type.make())
  return { type, fields, values, encoded: values.map((value) => withPrefix(3, peer.toBuffer(value))) }
}

const seeds = fc.integer({ min: 0, max: 0x7fffffff })

test('reads from any schema what avsc wrote', async () => {
  let cases = 0
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const drawn = randomCase(seed)
      if (!drawn) return
      cases++
      const { type, fields, values, encoded } = drawn
      const rows = await decodeAll(fields, encoded, { schemas: new Map([[3, type.schema as object]]) })
      values.forEach((value, row) => {
        const cells = fields.map((field) => [field.name, expectedCell(type, value, field)] as const)
        if (cells.some(([, cell]) => cell === 'fault')) assert.notEqual(rows[row]!.fault, 'none', 'a value that must be refused')
        else assert.deepEqual(rows[row], { fault: 'none', message: '', cells: Object.fromEntries(cells) })
      })
    }),
    { numRuns: 2000, examples: [[727_550_569]] },
  )
  assert.ok(cases > 1000, `${cases} schemas had fields to read`)
})

test('every strict prefix of a value is a fault, and so is a byte too many', async () => {
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const drawn = randomCase(seed)
      if (!drawn) return
      const whole = drawn.encoded[0]!
      const cut = [...Array.from({ length: whole.length }, (_, size) => whole.subarray(0, size)), Buffer.concat([whole, Buffer.from([0])])]
      for (const filler of [0, 0xff, 0x80]) {
        const rows = await decodeAll(drawn.fields, cut, { schemas: new Map([[3, drawn.type.schema as object]]), filler: () => filler })
        rows.forEach((row, size) => assert.notEqual(row.fault, 'none', `prefix of ${size} of ${whole.length} bytes`))
      }
    }),
    { numRuns: 200 },
  )
})

test('100,000 mutated values never throw, and what lies around a value never matters', async () => {
  let mutated = 0
  const prng = new Prng(2026)
  for (let seed = 0; mutated < 100_000; seed++) {
    const drawn = randomCase(seed)
    if (!drawn) continue
    const values = Array.from({ length: 400 }, () => mutate(drawn.encoded[prng.below(drawn.encoded.length)]!, prng))
    mutated += values.length
    const schemas = new Map([[3, drawn.type.schema as object]])
    const registry = fakeRegistry(schemas)
    const decoder = createSourceDecoder({ format: 'avro', fields: drawn.fields, registry })
    const outcomes = []
    for (const filler of [(): number => 0xff, (i: number): number => (i * 37) & 255, (): number => 0]) {
      const records = fillRecords(values, filler)
      const before = Buffer.from(records.arena.bytes.subarray(0, records.arena.used))
      const events = new EventColumns(drawn.fields, values.length)
      await decoder.prepare(records)
      decoder.decode(records, events)
      assert.ok(before.equals(records.arena.bytes.subarray(0, before.length)), `seed ${seed}: decoding wrote over a record`)
      outcomes.push(readRows(records, events))
    }
    assert.deepEqual(outcomes[1], outcomes[0], `seed ${seed}`)
    assert.deepEqual(outcomes[2], outcomes[0], `seed ${seed}`)
  }
})

function mutate(value: Buffer, prng: Prng): Buffer {
  const copy = Buffer.from(value)
  for (let changes = 1 + prng.below(3); changes > 0; changes--) {
    // Behind the envelope: other schema ids are another test.
    const at = 5 + prng.below(Math.max(1, copy.length - 5))
    if (at < copy.length) copy[at] = prng.below(3) === 0 ? 0xff : prng.below(256)
  }
  const kind = prng.below(4)
  if (kind === 0) return copy.subarray(0, 5 + prng.below(copy.length - 4))
  if (kind === 1) return Buffer.concat([copy, Buffer.from(Array.from({ length: prng.below(12) }, () => prng.below(256)))])
  return copy
}
