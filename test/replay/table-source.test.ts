import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TableSource, type TableRows } from '../../src/replay/table-source.js'
import { ParquetTable } from '../../src/replay/parquet-table.js'

const { fields } = loadTopology('card-fraud')
const epochMs = 1_700_000_000_000

describe('tables', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-tables-'))
  after(() => rmSync(folder, { recursive: true }))

  async function readAll(file: string, columns: Readonly<Record<string, string>> = {}): Promise<TableRows> {
    const table = await TableSource.open({ file, fields, keyField: 'customer', eventTimeField: 'event_time', epochMs, columns })
    const all: TableRows = { documents: [], keys: [], isFraud: [], scenario: [] }
    for await (const rows of table.chunks()) {
      all.documents.push(...rows.documents)
      all.keys.push(...rows.keys)
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

  it('a table without a field of the source, or that is no table, is refused with what to do', async () => {
    const file = join(folder, 'lacking.csv')
    writeFileSync(file, 'id,at\n7,1\n')
    await assert.rejects(readAll(file), { name: 'HarrierError' })
    await assert.rejects(readAll(join(folder, 'missing.csv')), /there is no file/)
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
