import type { Logger } from '../base/logger.js'
import type { Task } from './task.js'

/**
 * Records that a restore would fold again must not be deleted: where the start of the input comes as close to them as
 * they are many, all that is not on the changelog goes there at once. `startOf` gives the first offset of a partition.
 */
export async function watchRetention(tasks: readonly (Task | undefined)[], startOf: (partition: number) => Promise<number>, logger: Logger): Promise<void> {
  for (const task of tasks) {
    const needed = task?.tail.from
    if (!task?.isReady || needed === undefined) continue
    const start = await startOf(task.partition)
    if (start === 0 || start < needed - (task.position - needed)) continue
    task.hurries = true
    logger.log('warn', start > needed ? 'records were deleted that a restore would need' : 'the retention of the input comes close to what a restore would need', {
      task: task.name,
      start,
      needed,
      position: task.position,
      remedy: 'all changes go on the changelog now; raise retention.ms or retention.bytes of the input',
    })
  }
}
