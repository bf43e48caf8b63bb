import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { CounterSource } from '../../src/simulator/counter-source.js'
import { CsvWriter } from '../../src/simulator/csv-writer.js'
import { ParquetWriter } from '../../src/simulator/parquet-writer.js'
import { generatePublished } from '../../src/simulator/published-transactions.js'
import { writeTransactions } from '../../src/simulator/transaction-writer.js'

const folder = mkdtempSync(join(tmpdir(), 'harrier-writers-'))
after(() => rmSync(folder, { recursive: true }))
const table = generatePublished({ customers: 200, terminals: 1000, days: 60 })
const range = { fromDay: 0, toDay: 60 }

test('CSV has the header and one line for each transaction', async () => {
  const file = join(folder, 'all.csv')
  const counts = await writeTransactions(table, new CsvWriter(file), { range })
  const lines = readFileSync(file, 'utf8').split('\n')
  assert.equal(lines[0], 'tx_id,seconds,customer_id,terminal_id,amount_cents,is_fraud,scenario')
  assert.equal(lines.pop(), '')
  assert.equal(lines.length, table.rows + 1)
  assert.equal(counts.rows, table.rows)
  assert.equal(counts.frauds, table.isFraud.reduce((sum, flag) => sum + flag, 0))
  const row = table.scenario.findIndex((scenario) => scenario === 3)
  assert.equal(lines[row + 1], `${row},${table.seconds[row]},${table.customer[row]},${table.terminal[row]},${table.amountCents[row]},1,3`)
})

test('a limit on events cuts within a chunk', async () => {
  const file = join(folder, 'some.csv')
  const counts = await writeTransactions(table, new CsvWriter(file), { range, eventsMax: 10_001 })
  assert.equal(counts.rows, 10_001)
  assert.equal(readFileSync(file, 'utf8').split('\n').length, 10_003)
})

test('an interrupted CSV ends with a whole line', async () => {
  const file = join(folder, 'cut.csv')
  const stop = new AbortController()
  const counts = await writeTransactions(table, new CsvWriter(file), { range, signal: stop.signal, onRows: () => stop.abort() })
  assert.ok(counts.rows > 0 && counts.rows < table.rows)
  const text = readFileSync(file, 'utf8')
  assert.ok(text.endsWith('\n'))
  assert.equal(text.split('\n').length, counts.rows + 2)
})

test('a file that cannot be written is an error with a remedy', async () => {
  const nowhere = join(folder, 'no', 'folder')
  await assert.rejects(writeTransactions(table, new CsvWriter(nowhere), { range }), { code: 'CONFIG_INVALID', message: /cannot be written/ })
  await assert.rejects(ParquetWriter.open(nowhere), { code: 'CONFIG_INVALID', message: /cannot be written/ })
})

test('Parquet holds the same rows in the same order, ids beyond 32 bits exact, and leaves nothing beside it', async () => {
  const source = new CounterSource({ customers: 2000, terminals: 1000, days: 40, seed: 3 })
  const file = join(folder, "it's.parquet")
  const days = { fromDay: 30, toDay: 33 }
  const { rows, frauds } = await writeTransactions(source, await ParquetWriter.open(file), { range: days })
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  const reader = await connection.runAndReadAll(`SELECT * FROM '${file.replace("'", "''")}'`)
  const read = reader.getRows()
  connection.closeSync()
  instance.closeSync()
  assert.deepEqual(reader.columnNames(), ['tx_id', 'seconds', 'customer_id', 'terminal_id', 'amount_cents', 'is_fraud', 'scenario'])
  assert.equal(read.length, rows)
  assert.equal(read.filter((row) => row[5] === true).length, frauds)
  let at = 0
  for (const chunk of source.chunks(days)) {
    for (let i = 0; i < chunk.count; i++) {
      const payment = [chunk.seconds[i], chunk.customer[i], chunk.terminal[i], chunk.amountCents[i]]
      assert.deepEqual(read[at++], [BigInt(chunk.firstId + i), ...payment, chunk.isFraud[i] === 1, chunk.scenario[i]])
    }
  }
  assert.equal(existsSync(`${file}.gathering`), false)
})
