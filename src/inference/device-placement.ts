import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { withTimeout } from '../base/clock.js'
import type { Device } from './device.js'
import type { ModelSource } from './session.js'

/** How long onnxruntime may take to say which nodes it would put where. */
const placementMsMax = 20_000
/** Operators that are named; a graph may have hundreds that cannot run. */
const operatorsShownMax = 8

/** Opens the model with a fall-back to the CPU allowed, and lets onnxruntime tell where it puts each node. */
const script = `
const [ort, path, device] = process.argv.slice(1)
const chunks = []
process.stdin.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
  require(ort).InferenceSession.create(path || new Uint8Array(Buffer.concat(chunks)), { executionProviders: [device], logSeverityLevel: 0, intraOpNumThreads: 1 })
    .then(() => process.exit(0), () => process.exit(1))
})`

/**
 * The nodes of a graph that a device leaves to the CPU, as `Operator (node), …`; null when that cannot be told.
 *
 * onnxruntime says it in its log only, which goes past JavaScript to stderr: so a process of its own opens the model once more.
 */
export async function nodesLeftToCpu(source: ModelSource, device: Device): Promise<string | null> {
  const path = 'path' in source ? source.path : ''
  const child = spawn(process.execPath, ['-e', script, createRequire(import.meta.url).resolve('onnxruntime-node'), path, device], { stdio: ['pipe', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()))
  // a process that ends early does not read its input to the end
  child.stdin.on('error', () => undefined)
  child.stdin.end('path' in source ? undefined : source)
  const ended = new Promise<void>((resolve) => child.once('error', () => resolve()).once('close', () => resolve()))
  await withTimeout(ended, placementMsMax, () => new Error('too slow')).catch(() => child.kill('SIGKILL'))
  return placedOnCpu(log)
}

/** Reads the part "Node placements" of onnxruntime's log; exported for its test. */
export function placedOnCpu(log: string): string | null {
  const names = new Map<string, string[]>()
  const add = (operator: string, node: string): unknown => names.set(operator, [...(names.get(operator) ?? []), node])
  let onCpu = false
  for (const line of log.split('\n')) {
    if (/(?:Node\(s\)|nodes) placed on \[/.test(line)) onCpu = line.includes('[CPUExecutionProvider]')
    const node = /VerifyEachNodeIsAssignedToAnEp\]\s+(\S+) \((.*)\)\s*$/.exec(line)
    // copies between the devices follow from the others
    if (onCpu && node && !node[1]!.startsWith('Memcpy')) add(node[1]!, node[2]!)
  }
  // Where all nodes are on one device they are not listed; but the provider has told which it refused, some of them more than once.
  if (onCpu && names.size === 0) {
    const refused = new Set([...log.matchAll(/kernel not found in registries for Op type: (\S+) node name: (.*)$/gm)].map(([, operator, node]) => `${operator!} ${node!.trim()}`))
    for (const each of refused) add(each.slice(0, each.indexOf(' ')), each.slice(each.indexOf(' ') + 1))
  }
  if (names.size === 0) return null
  const operators = [...names].map(([operator, nodes]) => {
    const named = nodes.filter((node) => node !== '')
    const count = nodes.length > 1 ? `${nodes.length} times` : ''
    const place = named.length > 0 ? `${nodes.length > 1 ? 'first ' : ''}${named[0]!}` : ''
    const detail = [count, place].filter((part) => part !== '').join(', ')
    return detail === '' ? operator : `${operator} (${detail})`
  })
  const more = operators.length - operatorsShownMax
  return `${operators.slice(0, operatorsShownMax).join(', ')}${more > 0 ? `, and ${more} more operators` : ''}`
}
