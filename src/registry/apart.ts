import { fork } from 'node:child_process'
import { withTimeout, type Clock } from '../base/clock.js'
import { errorCatalogue, HarrierError, messageOf, type ErrorCode } from '../base/errors.js'

/** What a process that works apart sends back. */
type Answer = { readonly result: unknown } | { readonly code: string; readonly message: string; readonly remedy: string }

export interface ApartOptions {
  /** Ends it. */
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs: number
  readonly clock: Clock
}

/**
 * Does long or heavy work in a process of its own, so that a stream beside it is not held up, and a crash ends nothing but the work.
 * `module` answers with `answerApart`; what it is told goes through a pipe that nobody else sees. Errors: what the work threw;
 * LIMIT_EXCEEDED when it took too long; CONFIG_INVALID when the process died.
 */
export async function workApart<T>(module: URL, task: object, { signal, timeoutMs }: ApartOptions): Promise<T> {
  const child = fork(module, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], serialization: 'advanced', execArgv: [], ...(signal ? { signal } : {}) })
  const done = new Promise<T>((resolve, reject) => {
    child.once('message', (answer) => {
      const said = answer as Answer
      if ('result' in said) resolve(said.result as T)
      else if (said.code in errorCatalogue) reject(new HarrierError(said.code as ErrorCode, said.message, { remedy: said.remedy }))
      else reject(new Error(said.message))
    })
    child.once('error', reject)
    child.once('exit', (code, by) => reject(new HarrierError('CONFIG_INVALID', `the process that did it ended ${by === null ? `with exit code ${code}` : `by ${by}`}`, { remedy: 'try the same with the command line, which shows more' })))
  })
  child.send(task)
  try {
    return await withTimeout(done, timeoutMs, () => new HarrierError('LIMIT_EXCEEDED', `it took longer than ${timeoutMs} ms`, { remedy: 'do it with the command line, which waits' }))
  } finally {
    child.kill('SIGKILL')
  }
}

/** In the process: waits for the task, does it, answers, ends. */
export function answerApart<Task>(work: (task: Task) => Promise<unknown>): void {
  const answer = (what: Answer): void => void process.send?.(what, () => process.exit(0))
  process.once('message', (task) => {
    work(task as Task).then(
      (result) => answer({ result }),
      (error: unknown) => answer(error instanceof HarrierError ? { code: error.code, message: error.message, remedy: error.remedy } : { code: '', message: messageOf(error), remedy: '' }),
    )
  })
  // Whoever asked is gone.
  process.once('disconnect', () => process.exit(1))
}
