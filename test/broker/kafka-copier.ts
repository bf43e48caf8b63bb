import { systemClock } from '../../src/base/clock.js'
import { createLogger } from '../../src/base/logger.js'
import { CopyLoop, type CopyPoint } from './kafka-copy-loop.js'

/** A child process of the crash tests: copies until it is told to stop, or kills itself at the given point of a batch. */
export interface CopierOptions {
  readonly brokers: string
  readonly input: string
  readonly output: string
  readonly groupId: string
  readonly instanceId: string
  readonly batchRecordsMax: number
  readonly dieAt?: { readonly batch: number; readonly point: CopyPoint }
  /** Slows each batch down, so that all is not over before the crashes. */
  readonly pauseMs: number
}

const options = JSON.parse(process.argv[2]!) as CopierOptions
const loop = new CopyLoop({
  ...options,
  clock: systemClock,
  logger: createLogger((line) => process.stderr.write(line), { level: 'info', nowMs: () => systemClock.nowMs() }),
  at: async (point, batch) => {
    if (options.dieAt?.point === point && batch >= options.dieAt.batch) process.kill(process.pid, 'SIGKILL')
    if (point === 'offsets') await systemClock.sleep(options.pauseMs)
  },
})
process.on('SIGTERM', () => loop.stop())
void loop.changed.until(() => loop.events.some((event) => event.startsWith('resumed'))).then(() => process.stdout.write('resumed\n'))
await loop.run()
if (loop.fatal) {
  process.stderr.write(`${loop.fatal.code}: ${loop.fatal.message}\n`)
  process.exit(1)
}
