import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { systemClock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import { onnxruntimeVersion } from '../inference/device-class.js'
import { measureCrossover, type Crossover } from '../inference/device-crossover.js'
import { findSharedLibrary, installCudaCommand, onnxruntimeFolder } from '../inference/device-libraries.js'
import { openSession, whyNotHere } from '../inference/device.js'
import { modelFileBytes, modelSource } from '../inference/loaded-model.js'
import { ModelStore } from '../inference/model-store.js'
import type { ModelUse } from '../inference/scorer.js'
import type { Topology } from '../topology/load-topology.js'
import { modelsFolder, modelUses } from '../topology/open-scorer.js'
import type { Finding } from './doctor.js'
import { findProgram, runProgram } from './programs.js'
import { listVulkanDevices, vulkanDriverFiles } from './vulkan-devices.js'

/** A GPU that sleeps takes seconds to answer. */
const driverMsMax = 20_000
/** What the CUDA provider of onnxruntime 1.2x and 1.30 is linked with; where its binary is there, that itself is asked. */
const cudaLibraries = ['libcudart.so.12', 'libcublas.so.12', 'libcublasLt.so.12', 'libcurand.so.10', 'libcufft.so.11']
const cudnnLibrary = 'libcudnn.so.9'
const providerFiles = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']
const driverVersionMin = '525.60'

/** What is there for models on a GPU. What the topology's device needs and lacks is `missing`, all else `optional`. */
export async function examineGpu(topology: Topology, models = modelsFolder): Promise<Finding[]> {
  const wanted = topology.stage.models.device
  return [...(await examineCuda(wanted === 'cuda')), ...(await examineWebgpu(modelUses(topology, new ModelStore(models)), wanted === 'webgpu'))]
}

/** The crossover of each model of a topology on each GPU provider that is there. */
export async function measureTopology(topology: Topology, models: string | undefined, onStep: (text: string) => void): Promise<Crossover[]> {
  const found: Crossover[] = []
  for (const device of ['cuda', 'webgpu'] as const) {
    if (whyNotHere(device) !== null) continue
    for (const { model } of modelUses(topology, new ModelStore(models ?? modelsFolder))) {
      onStep(`measuring ${model.reference} on cpu and ${device}`)
      found.push(await measureCrossover(model, device, systemClock))
    }
  }
  return found
}

type Part = (name: string, found: string | undefined, lack: string, remedy: string) => Finding

function partOf(wanted: boolean): Part {
  return (name, found, lack, remedy) => ({
    group: 'gpu', name, state: found !== undefined ? 'ok' : wanted ? 'missing' : 'optional', found: found ?? lack, ...(found === undefined ? { remedy } : {}),
  })
}

async function examineCuda(wanted: boolean): Promise<Finding[]> {
  const part = partOf(wanted)
  const folder = onnxruntimeFolder()
  const absent = providerFiles.filter((file) => !existsSync(join(folder, file)))
  const provider = absent.length === 0 ? join(folder, providerFiles[1]!) : undefined
  const unresolved = provider === undefined ? [] : await librariesNotFound(provider)
  const ofCuda = cudaLibraries.filter((name) => !findSharedLibrary(name))
  const cudnn = findSharedLibrary(cudnnLibrary)
  const version = onnxruntimeVersion()
  return [
    part('CUDA: driver', await nvidiaDriver(), 'no NVIDIA driver: neither nvidia-smi nor /proc/driver/nvidia', `only for NVIDIA GPUs: driver ${driverVersionMin} or later; in a container the NVIDIA container toolkit as well`),
    part(
      'CUDA: libraries',
      ofCuda.length === 0 ? cudaLibraries.map((name) => versionOf(name)).join(', ') : undefined,
      `without ${ofCuda.join(', ')}`,
      'CUDA 12 from NVIDIA (Debian, Ubuntu: cuda-libraries-12-8), or pip install nvidia-cuda-runtime-cu12 nvidia-cublas-cu12 nvidia-curand-cu12 nvidia-cufft-cu12 and their lib folders in LD_LIBRARY_PATH',
    ),
    part('CUDA: cuDNN', cudnn && versionOf(cudnnLibrary), `without ${cudnnLibrary}`, 'cuDNN 9 for CUDA 12 from NVIDIA (libcudnn9-cuda-12), or pip install nvidia-cudnn-cu12 and its lib folder in LD_LIBRARY_PATH'),
    part(
      'CUDA: provider',
      provider && `${providerFiles.join(', ')} beside onnxruntime ${version}`,
      `without ${absent.join(', ')} in ${folder}`,
      `${installCudaCommand}; or take them out of the NuGet package Microsoft.ML.OnnxRuntime.Gpu.Linux ${version} (runtimes/linux-x64/native) into that folder`,
    ),
    ...(unresolved.length > 0 ? [part('CUDA: provider loads', undefined, `it needs ${unresolved.join(', ')}`, 'install what is named here, or add its folder to LD_LIBRARY_PATH')] : []),
  ]
}

/** Name, driver and memory of each GPU; undefined = no driver. */
async function nvidiaDriver(): Promise<string | undefined> {
  const program = findProgram('nvidia-smi')
  const asked = program && (await runProgram(program, ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'], { limitMs: driverMsMax }))
  if (asked && asked.code === 0 && asked.stdout.trim() !== '') {
    return asked.stdout.trim().split('\n').map((line) => line.split(', ')).map(([name, version, memory]) => `${name ?? 'a GPU'} (driver ${version ?? '?'}, ${memory ?? '?'})`).join('; ')
  }
  try {
    return `${readFileSync('/proc/driver/nvidia/version', 'utf8').split('\n')[0]!.replace(/\s+/g, ' ')}; nvidia-smi does not answer`
  } catch {
    return undefined
  }
}

/** What the dynamic loader would not find for a library. */
async function librariesNotFound(path: string): Promise<string[]> {
  const { stdout } = await runProgram('ldd', [path], { limitMs: driverMsMax })
  return [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1]!)
}

/** `libcublas.so.12.8.4.1`: the file that a name stands for carries the version. */
function versionOf(name: string): string {
  return basename(realpathSync(findSharedLibrary(name)!))
}

async function examineWebgpu(uses: readonly ModelUse[], wanted: boolean): Promise<Finding[]> {
  if (process.platform !== 'linux') return [await examineAdapter(uses, partOf(wanted), '')]
  const part = partOf(wanted)
  const loader = findSharedLibrary('libvulkan.so.1')
  const files = vulkanDriverFiles()
  const devices = files.length === 0 ? null : await listVulkanDevices()
  const named = devices?.map(({ name, kind }) => `${name} (${kind})`).join(', ')
  const inSoftware = devices !== null && devices.length > 0 && devices.every(({ kind }) => kind === 'software')
  return [
    part('WebGPU: Vulkan loader', loader, 'no libvulkan.so.1', 'apt-get install libvulkan1'),
    part(
      'WebGPU: drivers',
      files.length === 0 ? undefined : `${files.map((file) => basename(file)).join(', ')}${named ? `: ${named}` : ''}`,
      'no Vulkan driver',
      'the GPU vendor\'s driver (AMD, Intel: apt-get install mesa-vulkan-drivers; NVIDIA: its driver brings it); in software, for tests: . scripts/swiftshader.sh',
    ),
    await examineAdapter(uses, part, devices === null ? '' : inSoftware ? 'in software: slower than the CPU, good for tests only; ' : 'a GPU; '),
  ]
}

/** Whether onnxruntime gets an adapter: the smallest model of the topology is opened on it. */
async function examineAdapter(uses: readonly ModelUse[], part: Part, kind: string): Promise<Finding> {
  const name = 'WebGPU: adapter'
  const missing = whyNotHere('webgpu')
  if (missing !== null) return part(name, undefined, missing, 'see above')
  const [use] = [...uses].sort((a, b) => modelFileBytes(a.model) - modelFileBytes(b.model))
  try {
    await (await openSession(modelSource(use!.model), use!.model.reference, 'webgpu')).session.release()
    return part(name, `${kind}onnxruntime opens ${use!.model.reference} on it`, '', '')
  } catch (error) {
    return part(name, undefined, messageOf(error), 'see above; a model that has no kernel there is no fault of the adapter')
  }
}
