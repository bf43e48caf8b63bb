import { listSupportedBackends, type InferenceSession } from 'onnxruntime-node'
import { HarrierError, messageOf } from '../base/errors.js'
import { createSession, type ModelSource } from './session.js'

export type Device = 'cpu' | 'webgpu' | 'cuda'
export type DevicePolicy = Device | 'auto'

export interface DeviceInUse {
  /** The device that really runs the model. */
  readonly device: Device
  /** Why it is not a faster one; null when it is the wanted one. */
  readonly deviceNote: string | null
}

/** The order in which `auto` tries. */
const autoOrder: readonly Device[] = ['cuda', 'webgpu']

/**
 * Creates a session by the device policy. A device named explicitly runs the whole graph or fails with DEVICE_UNAVAILABLE;
 * `auto` falls back to the CPU and keeps the causes in `deviceNote`.
 */
export async function openSession(
  source: ModelSource, reference: string, policy: DevicePolicy,
): Promise<DeviceInUse & { session: InferenceSession }> {
  if (policy !== 'auto') {
    const missing = whyNotBundled(policy)
    if (missing) throw new HarrierError('DEVICE_UNAVAILABLE', `${reference} cannot run on ${policy}: ${missing}`)
    return { session: await createSession(source, reference, policy), device: policy, deviceNote: null }
  }
  const notes: string[] = []
  for (const device of autoOrder) {
    const missing = whyNotBundled(device)
    if (missing) {
      notes.push(`${device}: ${missing}`)
      continue
    }
    try {
      return { session: await createSession(source, reference, device), device, deviceNote: notes.length > 0 ? notes.join('; ') : null }
    } catch (error) {
      notes.push(`${device}: ${messageOf(error instanceof HarrierError && error.cause ? error.cause : error)}`)
    }
  }
  return { session: await createSession(source, reference, 'cpu'), device: 'cpu', deviceNote: notes.join('; ') }
}

function whyNotBundled(device: Device): string | null {
  const backend = listSupportedBackends().find((each) => each.name === device)
  if (!backend) return `onnxruntime-node has no ${device} provider on this platform`
  return backend.bundled ? null : 'the provider is not in the installed onnxruntime-node package'
}
