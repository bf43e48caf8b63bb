import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import type { AssignmentHandlers, GroupConsumer } from '../../src/consumer/group-consumer.js'
import type { Changelog } from '../../src/topology/changelog.js'
import { Engine, type EngineParts } from '../../src/topology/engine.js'
import { RestoreQueue } from '../../src/topology/restore-queue.js'
import type { Stage } from '../../src/topology/stage.js'
import { Standby } from '../../src/topology/standby.js'
import type { Task } from '../../src/topology/task.js'

const settle = (): Promise<void> => systemClock.sleep(20)

describe('a turn of the models and what reads hidden states', () => {
  it('an engine gives up its restores and its copies before others take over, and begins the restores anew after it', async () => {
    const told: string[] = []
    let handlers: AssignmentHandlers | undefined
    let switchModels: ((takeOver: () => Promise<void>) => Promise<void>) | undefined
    let restores = 0
    const tasks: (object | undefined)[] = []
    const stage = {
      tasks, topology: { stageName: 'customer', spec: { limits: { batchesAheadMax: 1, batchRecordsMax: 10, batchDelayMsMax: 1 } } },
      makeBatch: () => ({ reset: () => undefined, records: { count: 0 }, parts: [] }),
      checkpointer: { isOverdue: () => false }, scorer: { close: () => Promise.resolve() },
      addTask: (partition: number) => (tasks[partition] = { partition, position: -1, index: { size: 0 }, dirty: [] }),
      dropTask: (partition: number) => {
        told.push(`dropped ${partition}`)
        tasks[partition] = undefined
      },
    }
    const consumer = {
      assignmentEpoch: 0, start: () => Promise.resolve(), stop: () => Promise.resolve(), assignment: () => [], pause: () => undefined, resume: () => Promise.resolve(), progress: () => [],
      committed: () => Promise.resolve([{ offset: 0 }]), poll: () => systemClock.sleep(5).then(() => 0), seek: () => Promise.resolve(),
    }
    const parts = {
      stage, outputs: {}, names: { input: 'in' }, producer: { init: () => Promise.resolve(), close: () => Promise.resolve() },
      restorer: {
        freePredecessor: () => Promise.resolve(),
        restore: (_stage: unknown, task: { partition: number }, _offset: number, signal: AbortSignal) => {
          const number = ++restores
          told.push(`restore ${number} of ${task.partition}`)
          // the first is under way when the models turn
          if (number > 1) return Promise.resolve({ records: 0 })
          return new Promise((resolve) => signal.addEventListener('abort', () => {
            told.push('given up')
            resolve({ records: 0 })
          }))
        },
      },
      standby: { partitions: 0, entities: 0, warm: () => Promise.resolve(), start: () => undefined, stop: () => Promise.resolve(), take: () => undefined, forget: () => void told.push('copies forgotten') },
      modelTurns: { start: (given: typeof switchModels) => (switchModels = given), stop: () => Promise.resolve() },
      startOfInput: () => Promise.resolve(0), closeReaders: () => Promise.resolve(),
      makeConsumer: (given: AssignmentHandlers) => {
        handlers = given
        return consumer as unknown as GroupConsumer
      },
      clock: systemClock, logger: silentLogger,
    }
    const engine = new Engine(parts as unknown as EngineParts)
    const running = engine.run()
    await settle()
    const assigned = handlers!.onAssigned([{ topic: 'in', partition: 3 }])
    await settle()
    assert.deepEqual(told, ['restore 1 of 3'])
    await switchModels!(() => Promise.resolve(void told.push('others took over')))
    await assigned
    await settle()
    assert.deepEqual(told, ['restore 1 of 3', 'given up', 'copies forgotten', 'others took over', 'dropped 3', 'restore 2 of 3'])
    assert.equal(engine.state, 'running')
    await engine.stop()
    await running
  })

  it('restores that wait, too, stand aside; one that is cancelled meanwhile does not come again', async () => {
    const told: string[] = []
    const queue = new RestoreQueue((partition, signal) => {
      told.push(`begins ${partition}`)
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()))
    })
    const added = queue.add([1, 2, 3])
    await settle()
    let again: readonly number[] = []
    const turn = queue.standAside(async () => {
      told.push('turn')
      await settle()
    }, (partitions) => (again = partitions))
    await queue.cancel([2])
    await turn
    await added
    assert.deepEqual(told, ['begins 1', 'turn'])
    assert.deepEqual(again, [1, 3])
    assert.equal(queue.size, 0)
  })

  it('a standby forgets its copies, the one that it is reading among them, and begins them anew', async () => {
    const released: number[] = []
    let aborted = false
    let reads = 0
    const stage = { tasks: [], makeTask: (partition: number) => ({ partition, changelog: { readAtMs: 0 }, index: { size: 5 } }), releaseTask: ({ partition }: Task) => void released.push(partition) }
    const changelog = {
      read: (_stage: unknown, _copy: unknown, _to: unknown, { signal }: { signal: AbortSignal }) => {
        if (++reads < 3) return Promise.resolve()
        return new Promise<void>((resolve) => signal.addEventListener('abort', () => {
          aborted = true
          resolve()
        }))
      },
    }
    const plan = { wanted: () => Promise.resolve([0, 1]), wantedBeforeJoining: () => Promise.resolve([0, 1]), close: () => Promise.resolve() }
    const standby = new Standby({ stage: stage as unknown as Stage, changelog: changelog as unknown as Changelog, plan, clock: systemClock, logger: silentLogger, limits: { pollMs: 5, planMs: 5 } })
    await standby.warm()
    assert.equal(standby.entities, 10)
    standby.start()
    await settle()
    standby.forget()
    assert.deepEqual([standby.partitions, released, aborted, standby.take(0)], [0, [0, 1], true, undefined])
    await settle()
    assert.equal(standby.partitions, 2)
    await standby.stop()
  })
})
