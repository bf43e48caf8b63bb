import { Worker } from 'node:worker_threads'
import type { SimulatorParameters } from '../../simulator/parameters.js'
import { TransactionTable, type UnlabelledColumns } from '../../simulator/transaction-table.js'

/** What the thread sends back: the columns of the table, moved, not copied. */
export interface TableMessage {
  readonly parameters: SimulatorParameters
  readonly columns: UnlabelledColumns
  readonly scenario: Uint8Array
}

/** The published transactions, drawn in a thread: the seconds that this takes must not keep Ctrl-C waiting. */
export async function drawPublishedTable(signal: AbortSignal): Promise<TransactionTable> {
  const worker = new Worker(new URL('./published-table-thread.js', import.meta.url))
  const onAbort = (): void => void worker.terminate()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const { parameters, columns, scenario } = await new Promise<TableMessage>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the thread that draws transactions ended')))
    })
    const table = new TransactionTable(parameters, columns)
    for (let row = 0; row < table.rows; row++) if (scenario[row] !== 0) table.markFraud(row, scenario[row]!)
    return table
  } finally {
    signal.removeEventListener('abort', onAbort)
    void worker.terminate()
  }
}
