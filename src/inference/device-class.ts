import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Device } from './device.js'

/** Instruction sets that onnxruntime's kernels choose between, the widest first, as /proc/cpuinfo names them. */
const instructionSets: readonly (readonly [flag: string, name: string])[] = [
  ['amx_tile', 'amx'],
  ['avx512_bf16', 'avx512bf16'],
  ['avx512_vnni', 'avx512vnni'],
  ['avx512f', 'avx512f'],
  ['avx_vnni', 'avxvnni'],
  ['avx2', 'avx2'],
  ['avx', 'avx'],
  ['sse4_1', 'sse4.1'],
  ['sve', 'sve'],
  ['asimd', 'neon'],
]

let cachedCpu: string | undefined

/** The CPU's widest instruction set that matters here, for example `x64-avx512vnni`. */
export function cpuInstructionSet(cpuinfo: () => string = () => readFileSync('/proc/cpuinfo', 'utf8')): string {
  let text = ''
  try {
    text = cpuinfo()
  } catch {
    // not Linux: the architecture alone has to do
  }
  const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1] ?? '').split(' '))
  const found = instructionSets.find(([flag]) => flags.has(flag))
  return `${process.arch}-${found ? found[1] : 'unknown'}`
}

export function onnxruntimeVersion(): string {
  return (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version
}

/**
 * Scores are equal to the bit within one device class, and within a tolerance across classes: onnxruntime's version,
 * the provider, the CPU's instruction set and the major version of Node (whose `Math` the features use).
 * For example `onnxruntime-1.30.0 cpu x64-avx512vnni node-20`.
 */
export function deviceClassOf(devices: readonly Device[]): string {
  const providers = [...new Set(devices)].sort().join('+') || 'none'
  cachedCpu ??= cpuInstructionSet()
  return `onnxruntime-${onnxruntimeVersion()} ${providers} ${cachedCpu} node-${process.versions.node.split('.')[0]}`
}
