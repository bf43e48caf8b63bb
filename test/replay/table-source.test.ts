import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { noTimestamp, RecordColumns } from '../../src/base/record-columns.js'
import { exponentOf } from '../../src/codec/decimal-text.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import { isText, type FieldSpec } from '../../src/codec/field-spec.js'
import { packedRowMark } from '../../src/codec/packed-row.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { exportFeatures } from '../../src/topology/export-features.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TableSource, type TableRows } from '../../src/replay/table-source.js'
import { ParquetTable } from '../../src/replay/parquet-table.js'
import { TextSlices } from '../../src/replay/text-slices.js'

const { fields } = loadTopology('card-fraud')
const epochMs = 1_700_000_000_000

describe('tables', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-tables-'))
  after(() => rmSync(folder, { recursive: true }))

  interface Texts extends Pick<TableRows, 'isFraud' | 'scenario'> {
    readonly documents: string[]
    readonly keys: string[]
  }

  /** A record as JSON, a packed one in the shape and the units that its document would have. */
  function documentOf(bytes: Uint8Array, fields: readonly FieldSpec[]): string {
    if (bytes[0] !== packedRowMark) return Buffer.from(bytes).toString()
    const records = new RecordColumns(1)
    records.append(0, 0, 0, noTimestamp, null, bytes)
    const events = new EventColumns(fields, 1)
    createSourceDecoder({ format: 'json', fields, isTable: true }).decode(records, events)
    assert.equal(events.faults, 0)
    const document: Record<string, unknown> = {}
    for (const [index, field] of fields.entries()) {
      const number = events.numbers[index]![0] ?? NaN
      const value = isText(field) ? events.text(index, 0, records.arena) : Number.isNaN(number) ? null : field.type === 'boolean' ? number === 1 : number / 10 ** Math.max(0, exponentOf(field))
      const steps = field.path.split('.')
      let inner = document
      for (const step of steps.slice(0, -1)) inner = (inner[step] ??= {}) as Record<string, unknown>
      inner[steps.at(-1)!] = value
    }
    return JSON.stringify(document)
  }

  function textsOf({ count, bytes, recordEnds, keyEnds }: TableRows, fields: readonly FieldSpec[]): Pick<Texts, 'documents' | 'keys'> {
    const rows = Array.from({ length: count }, (_, row) => row)
    return {
      documents: rows.map((row) => documentOf(bytes.subarray(row === 0 ? 0 : keyEnds[row - 1]!, recordEnds[row]!), fields)),
      keys: rows.map((row) => Buffer.from(bytes.subarray(recordEnds[row]!, keyEnds[row]!)).toString()),
    }
  }

  async function readAll(file: string, columns: Readonly<Record<string, string>> = {}): Promise<Texts> {
    const table = await TableSource.open({ file, fields, keyField: 'customer', eventTimeField: 'event_time', epochMs, columns })
    const all: Texts = { documents: [], keys: [], isFraud: [], scenario: [] }
    for await (const rows of table.chunks()) {
      const { documents, keys } = textsOf(rows, fields)
      all.documents.push(...documents)
      all.keys.push(...keys)
      all.isFraud.push(...rows.isFraud)
      all.scenario.push(...rows.scenario)
    }
    table.close()
    return all
  }

  it('a CSV of the simulator becomes the JSON records of the topology, labels beside them', async () => {
    const file = join(folder, 'simulated.csv')
    writeFileSync(file, 'tx_id,seconds,customer_id,terminal_id,amount_cents,is_fraud,scenario\n0,31,596,3156,5716,0,0\n1,130,4961,3412,8151,1,2\n')
    const { documents, keys, isFraud, scenario } = await readAll(file)
    assert.deepEqual(keys, ['596', '4961'])
    assert.deepEqual([isFraud, scenario], [[false, true], [0, 2]])
    const first = JSON.parse(documents[0]!) as Record<string, unknown>
    assert.equal(first['event_time'], epochMs + 31_000)
    assert.equal(first['amount_minor'], 5716)
    assert.equal(String(first['customer_id']), '596')
  })

  it('columns of another name are given as field=column', async () => {
    const file = join(folder, 'own.csv')
    writeFileSync(file, 'id,at,who,where,cents\n7,1700000000123,a,b,99\n')
    const { documents } = await readAll(file, { event_id: 'id', event_time: 'at', customer: 'who', terminal: 'where', amount: 'cents' })
    const first = JSON.parse(documents[0]!) as Record<string, unknown>
    assert.deepEqual([first['event_time'], first['amount_minor'], first['customer_id']], [1_700_000_000_123, 99, 'a'])
  })

  async function documentsOf(file: string, fields: FieldSpec[]): Promise<Record<string, unknown>[]> {
    const table = await TableSource.open({ file, fields, keyField: 'card', eventTimeField: 'event_time', epochMs })
    const documents: Record<string, unknown>[] = []
    for await (const rows of table.chunks()) documents.push(...textsOf(rows, fields).documents.map((text) => JSON.parse(text) as Record<string, unknown>))
    table.close()
    return documents
  }
  const card: FieldSpec = { name: 'card', path: 'card', type: 'text' }
  const timed = (type: FieldSpec['type'], more: Partial<FieldSpec> = {}): FieldSpec => ({ name: 'event_time', path: 'at', type, ...more })

  it('a CSV keeps what is text to the topology as it is written: zones of times, zeros before numbers', async () => {
    const file = join(folder, 'texts.csv')
    writeFileSync(file, 'card,at\n007,2024-05-02T09:14:03.120+02:00\n012,2024-05-02T09:14:04Z\n')
    assert.deepEqual(await documentsOf(file, [card, timed('iso8601')]), [{ card: '007', at: '2024-05-02T09:14:03.120+02:00' }, { card: '012', at: '2024-05-02T09:14:04Z' }])
  })

  it('times of a CSV or Parquet table become what the field declares, whatever the table takes them for', async () => {
    const csv = join(folder, 'times.csv')
    writeFileSync(csv, 'card,at\na,2024-05-02T09:14:03.120+02:00\n')
    const ms = Date.UTC(2024, 4, 2, 7, 14, 3, 120)
    assert.deepEqual((await documentsOf(csv, [card, timed('timestamp-millis')]))[0]!['at'], ms)
    assert.deepEqual((await documentsOf(csv, [card, timed('timestamp-micros')]))[0]!['at'], ms * 1000)
    assert.deepEqual((await documentsOf(csv, [card, timed('timestamp-seconds')]))[0]!['at'], ms / 1000)

    const parquet = join(folder, 'times.parquet')
    const duck = await DuckDBInstance.create(':memory:')
    const connection = await duck.connect()
    await connection.run(`COPY (SELECT 'a' AS card, TIMESTAMP '2024-05-02 09:14:03.12' AS at) TO '${parquet}'`)
    connection.closeSync()
    duck.closeSync()
    assert.deepEqual(await documentsOf(parquet, [card, timed('iso8601')]), [{ card: 'a', at: '2024-05-02T09:14:03.120000Z' }])
    assert.deepEqual((await documentsOf(parquet, [card, timed('iso8601', { zone: '+02:00' })]))[0]!['at'], '2024-05-02T09:14:03.120000', 'the zone of the field is that of such times')
    assert.deepEqual((await documentsOf(parquet, [card, timed('timestamp-millis')]))[0]!['at'], ms + 7_200_000)
  })

  it('feature rows of a CSV with ISO 8601 times are those of the stream: none is refused', async () => {
    const topology = join(folder, 'iso.yaml')
    writeFileSync(topology, readFileSync('docs/examples/models/authorisations.yaml', 'utf8').replace('{ path: time, type: timestamp-millis }', '{ path: time, type: iso8601 }'))
    const file = join(folder, 'iso.csv')
    writeFileSync(file, 'id,time,card,amount_cents,channel,merchant_code\n1,2024-05-02T09:14:03.120+02:00,007,1250,CHIP,5411\n2,2024-05-02T08:00:00Z,007,99,,5812\n')
    const out = join(folder, 'iso.parquet')
    const result = await exportFeatures({ topology: loadTopology(topology), from: file, out, columns: {}, epochMs, labelDelayMs: 0, clock: systemClock, logger: silentLogger, onProgress: () => undefined })
    assert.deepEqual(result, { rows: 2, refused: 0, late: 0, firstRefusal: undefined })
    const rows = await documentsOf(out, [{ name: 'card', path: 'entity', type: 'text' }, { name: 'event_time', path: 'event_time', type: 'timestamp-millis' }])
    assert.deepEqual(rows, [{ entity: '007', event_time: Date.UTC(2024, 4, 2, 7, 14, 3, 120) }, { entity: '007', event_time: Date.UTC(2024, 4, 2, 8) }])
  })

  it('a table without a field of the source, or that is no table, is refused with what to do', async () => {
    const file = join(folder, 'lacking.csv')
    writeFileSync(file, 'id,at\n7,1\n')
    await assert.rejects(readAll(file), { name: 'HarrierError' })
    await assert.rejects(readAll(join(folder, 'missing.csv')), /there is no file/)
  })

  it('whatever a column holds is written as the JSON that stands for it, and the key as text', async () => {
    const parquet = join(folder, 'kinds.parquet')
    const duck = await DuckDBInstance.create(':memory:')
    const connection = await duck.connect()
    const rows = [
      `('q"\\é€', 9007199254740993, 1.5, 12.50, true, 7)`, `('', -9007199254740991, 1e300, -0.01, false, 8)`, `(NULL, NULL, NULL, NULL, NULL, NULL)`, `('12', 0, -0.0, 3.00, true, 9)`,
    ]
    await connection.run(`COPY (SELECT * FROM (VALUES ${rows.join(', ')}) t(card, long, double, decimal, flag, tiny)) TO '${parquet}'`)
    connection.closeSync()
    duck.closeSync()
    const field = (name: string, type: FieldSpec['type']): FieldSpec => ({ name, path: `body.${name}`, type, optional: true })
    const fields = [field('card', 'text'), field('long', 'text'), field('double', 'number'), field('decimal', 'number'), field('flag', 'boolean'), field('tiny', 'integer')]
    const table = await TableSource.open({ file: parquet, fields, keyField: 'card', eventTimeField: 'none', epochMs })
    const { documents, keys } = textsOf((await table.chunks().next()).value as TableRows, fields)
    table.close()
    assert.deepEqual(documents, [
      '{"body":{"card":"q\\"\\\\é€","long":"9007199254740993","double":1.5,"decimal":12.50,"flag":true,"tiny":7}}',
      '{"body":{"card":"","long":"-9007199254740991","double":1e+300,"decimal":-0.01,"flag":false,"tiny":8}}',
      '{"body":{"card":null,"long":null,"double":null,"decimal":null,"flag":null,"tiny":null}}',
      '{"body":{"card":"12","long":"0","double":0,"decimal":3.00,"flag":true,"tiny":9}}',
    ])
    assert.deepEqual(keys, ['q"\\é€', '', '', '12'])
  })

  it('texts are copied into a column from where they lie: short and long ones, empty and null', async () => {
    const texts = ['', 'a', 'twelve bytes', 'thirteen byte', 'é€', null, 'x'.repeat(300), '0123456789ab']
    const bytes = Buffer.from(texts.join(''))
    const sizes = texts.map((text) => (text === null ? -1 : Buffer.byteLength(text)))
    const count = 5000
    const [at, size] = [new Int32Array(count), new Int32Array(count)]
    for (let row = 0; row < count; row++) {
      size[row] = sizes[row % texts.length]!
      at[row] = sizes.slice(0, row % texts.length).reduce((sum, each) => sum + Math.max(0, each), 0)
    }
    const file = join(folder, 'slices.parquet')
    const table = await ParquetTable.open(file, [{ name: 'text', type: 'text' }, { name: 'row', type: 'long' }])
    table.write([new TextSlices(bytes, at, size), Float64Array.from({ length: count }, (_, row) => row)], count)
    await table.close()
    const duck = await DuckDBInstance.create(':memory:')
    const connection = await duck.connect()
    const found = (await connection.runAndReadAll(`SELECT text FROM '${file}' ORDER BY row`)).getRows().map(([text]) => text)
    const equal = (await connection.runAndReadAll(`SELECT count(*) FROM '${file}' WHERE text = 'twelve bytes' OR text = 'thirteen byte'`)).getRows()[0]![0]
    connection.closeSync()
    duck.closeSync()
    assert.deepEqual(found, Array.from({ length: count }, (_, row) => texts[row % texts.length] ?? ''))
    assert.equal(equal, 1250n)
  })

  it('what is written to Parquet is read from Parquet, past the size of a vector', async () => {
    const file = join(folder, 'rows.parquet')
    const table = await ParquetTable.open(file, [
      { name: 'event_id', type: 'text' },
      { name: 'event_time', type: 'long' },
      { name: 'customer_id', type: 'text' },
      { name: 'terminal_id', type: 'text' },
      { name: 'amount_minor', type: 'long' },
    ])
    const count = 5000
    const numbers = Array.from({ length: count }, (_, i) => i)
    const texts = numbers.map((i) => `e${i}`)
    table.write([texts, numbers.map((i) => epochMs + i), texts, texts, numbers], count)
    await table.close()
    const { documents, keys } = await readAll(file, { event_id: 'event_id' })
    assert.equal(documents.length, count)
    assert.deepEqual(keys, texts)
    assert.equal((JSON.parse(documents[4999]!) as { event_time: number }).event_time, epochMs + 4999)
  })
})
