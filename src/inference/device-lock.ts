import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import { HarrierError } from '../base/errors.js'

/**
 * onnxruntime's WebGPU provider has one context for the process, and it is not made for threads: two workers that run at the same
 * time write into each other's command encoder, and the process ends. So whatever touches it (opening, running, releasing a
 * session) holds this lock: of a thread by a queue, of the process by one word that all its threads share.
 */
const key = 'harrier.webgpu-lock'
const free = 0
const held = 1

/** A holder that does not come back is a GPU that hangs. Longer than any model's time-out should be. */
export const deviceWaitMsMax = 30_000

const shared = getEnvironmentData(key)
const word = new Int32Array(shared instanceof SharedArrayBuffer ? shared : new SharedArrayBuffer(4))
// inherited by every worker that this thread starts from now on
setEnvironmentData(key, word.buffer)

let tail: Promise<unknown> = Promise.resolve()

/** Does the work while no other thread of the process touches WebGPU. Errors: DEVICE_UNAVAILABLE when that takes too long. */
export function holdingWebgpu<T>(work: () => Promise<T>): Promise<T> {
  const done = tail.then(async () => {
    acquire()
    try {
      return await work()
    } finally {
      Atomics.store(word, 0, free)
      Atomics.notify(word, 0, 1)
    }
  })
  tail = done.catch(() => undefined)
  return done
}

/** Blocks the thread, as a run does. */
function acquire(): void {
  while (Atomics.compareExchange(word, 0, free, held) !== free) {
    if (Atomics.wait(word, 0, held, deviceWaitMsMax) === 'timed-out') {
      throw new HarrierError('DEVICE_UNAVAILABLE', `webgpu: another thread has been in a run for more than ${deviceWaitMsMax} ms`, {
        remedy: 'look at the GPU (its driver may hang), restart the process, or choose device: cpu',
      })
    }
  }
}
