import { messageOf } from '../../src/base/errors.js'
import { openSession } from '../../src/inference/device.js'
import { rowModel } from './test-models.js'

/** Why tests that need WebGPU are skipped on this machine; false = they are not. */
export async function whyNoWebgpu(): Promise<string | false> {
  try {
    await (await openSession(rowModel().bytes as Uint8Array<ArrayBuffer>, 'a model', 'webgpu')).session.release()
    return false
  } catch (error) {
    return `${messageOf(error).replace(/^a model cannot run on /, '')}; for one in software: . scripts/swiftshader.sh`
  }
}

/**
 * Largest absolute difference between scores of two devices, for models of float32 with some ten thousand weights. Their sums are
 * taken in another order; what is measured on the software adapter is a fortieth of this.
 */
export const scoreTolerance = 1e-5
