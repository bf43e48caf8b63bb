import { listSupportedBackends, type InferenceSession } from 'onnxruntime-node'
import { HarrierError, messageOf } from '../base/errors.js'
import { findSharedLibrary, installCudaCommand } from './device-libraries.js'
import { createSession, type ModelSource } from './session.js'

export type Device = 'cpu' | 'webgpu' | 'cuda'
export type DevicePolicy = Device | 'auto'

export interface DeviceInUse {
  /** The device that really runs the model, for the life of the process. */
  readonly device: Device
  /** With `auto`: what was tried and measured, and so why it is this device. Null for a device that was named. */
  readonly deviceNote: string | null
}

/** How `auto` compares two devices that can both run a model. */
export interface DeviceContest {
  /** Rows of a run at the topology's batch size. */
  readonly rows: number
  /** Workers that would share one GPU: in the worst case their runs wait for each other. */
  readonly workers: number
  /** Milliseconds of such a run. */
  timeRun(session: InferenceSession): Promise<number>
}

/** The order in which `auto` looks for a GPU: the first that can run the model is measured against the CPU. */
const autoOrder: readonly Device[] = ['cuda', 'webgpu']
/** How `deviceNote` begins when no GPU could run a model and so the CPU does. */
const fellBackNote = 'no GPU can run it'

const remedies: Readonly<Record<Device, string>> = {
  cpu: '',
  webgpu: '`harrier doctor --gpu` tells which drivers are there; or choose device: cpu or auto',
  cuda: `\`harrier doctor --gpu\` tells what else is missing; the binaries: ${installCudaCommand}`,
}

/** Whether `auto` had to take the CPU, since no GPU could run the model. A GPU that is slower is no fall-back but a choice. */
export function fellBack({ device, deviceNote }: { readonly device: string; readonly deviceNote: string | null }): boolean {
  return device === 'cpu' && deviceNote !== null && deviceNote.startsWith(fellBackNote)
}

/**
 * Creates a session by the device policy. A device named explicitly runs the whole graph or fails with DEVICE_UNAVAILABLE;
 * `auto` takes a GPU that can run the whole graph and wins the contest (without one: that can run it), else the CPU.
 */
export async function openSession(
  source: ModelSource, reference: string, policy: DevicePolicy, contest?: (session: InferenceSession) => DeviceContest,
): Promise<DeviceInUse & { session: InferenceSession }> {
  if (policy !== 'auto') return { session: await openOn(source, reference, policy), device: policy, deviceNote: null }
  const notes: string[] = []
  for (const device of autoOrder) {
    let session: InferenceSession
    try {
      session = await openOn(source, reference, device)
    } catch (error) {
      notes.push(messageOf(error).replace(`${reference} cannot run on `, ''))
      continue
    }
    const cpu = await createSession(source, reference, 'cpu')
    return await settle({ device, session, cpu, notes, contest: contest?.(cpu) })
  }
  return { session: await createSession(source, reference, 'cpu'), device: 'cpu', deviceNote: `${fellBackNote}: ${notes.join('; ')}` }
}

async function settle(
  { device, session, cpu, notes, contest }: { device: Device; session: InferenceSession; cpu: InferenceSession; notes: string[]; contest: DeviceContest | undefined },
): Promise<DeviceInUse & { session: InferenceSession }> {
  let gpuWins = true
  try {
    if (contest) {
      const [gpuMs, cpuMs] = [await contest.timeRun(session), await contest.timeRun(cpu)]
      gpuWins = gpuMs * contest.workers < cpuMs
      const share = contest.workers > 1 ? `, and ${contest.workers} workers share ${device}` : ''
      notes.unshift(`${contest.rows} rows take ${milliseconds(gpuMs)} on ${device} and ${milliseconds(cpuMs)} on cpu${share}`)
    }
  } catch (error) {
    gpuWins = false
    notes.unshift(`${fellBackNote}: ${device}: ${messageOf(error)}`)
  }
  await (gpuWins ? cpu : session).release()
  return { session: gpuWins ? session : cpu, device: gpuWins ? device : 'cpu', deviceNote: notes.length > 0 ? notes.join('; ') : null }
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(2) : Math.round(value)} ms`
}

/** Errors: DEVICE_UNAVAILABLE, with what is missing on this machine or the nodes that cannot run there; MODEL_INVALID on the CPU. */
async function openOn(source: ModelSource, reference: string, device: Device): Promise<InferenceSession> {
  const missing = whyNotHere(device)
  if (missing !== null) throw new HarrierError('DEVICE_UNAVAILABLE', `${reference} cannot run on ${device}: ${missing}`, { remedy: remedies[device] })
  try {
    return await createSession(source, reference, device)
  } catch (error) {
    const text = messageOf(error)
    if (device === 'cpu') throw error
    const adapter = /Failed to get a WebGPU adapter: ([^\n]*)/.exec(text)
    if (adapter) throw new HarrierError('DEVICE_UNAVAILABLE', `${reference} cannot run on ${device}: there is no adapter (${adapter[1]!})`, { cause: error, remedy: remedies[device] })
    if (!/fallback to CPU EP has been explicitly disabled/.test(text)) throw error
    // Only here: every scoring worker would load it, and a release opens them under load.
    const { nodesLeftToCpu } = await import('./device-placement.js')
    const nodes = await nodesLeftToCpu(source, device)
    const remedy = 'export the model without these nodes (docs/models.md, "Devices"), or choose device: cpu or auto'
    throw new HarrierError('DEVICE_UNAVAILABLE', `${reference} cannot run on ${device}: it has no kernel there for ${nodes ?? 'some of the nodes'}`, { cause: error, remedy })
  }
}

/** What this machine lacks for a device, before anything is opened; null = nothing that can be seen so. */
export function whyNotHere(device: Device): string | null {
  const backend = listSupportedBackends().find((each) => each.name === device)
  if (!backend) return `onnxruntime-node has no ${device} provider on this platform`
  if (!backend.bundled) return 'the provider\'s binaries are not installed'
  // Without this the WebGPU implementation would say it on stderr, past every log.
  if (device === 'webgpu' && process.platform === 'linux' && !findSharedLibrary('libvulkan.so.1')) return 'there is no Vulkan loader (libvulkan.so.1)'
  return null
}
