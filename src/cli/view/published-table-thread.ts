import { parentPort } from 'node:worker_threads'
import { assert } from '../../base/assert.js'
import { generatePublished } from '../../simulator/published-transactions.js'
import type { TableMessage } from './published-table.js'

assert(parentPort, 'this file runs in a thread')
const { parameters, rows, seconds, customer, terminal, amountCents, scenario } = generatePublished()
// The generator cuts its columns from larger ones: what is moved is exactly the rows.
const exact = (column: Int32Array): Int32Array => (column.byteLength === column.buffer.byteLength ? column : column.slice())
const columns = { rows, seconds: exact(seconds), customer: exact(customer), terminal: exact(terminal), amountCents: exact(amountCents) }
const message: TableMessage = { parameters, columns, scenario }
const moved = [columns.seconds, columns.customer, columns.terminal, columns.amountCents, scenario].map((column) => column.buffer as ArrayBuffer)
parentPort.postMessage(message, moved)
