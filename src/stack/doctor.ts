import { createRequire } from 'node:module'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import { messageOf } from '../base/errors.js'
import { configuredConnections, type ConnectionOptions } from './connections.js'
import { describeSecurity } from '../connection/security.js'
import { nativeFile, nativeRemedy } from '../consumer/native-binding.js'
import { rebuildRemedy } from '../consumer/kafka-security.js'
import { askBroker, askRegistry } from './health.js'
import { isFetched } from './library.js'
import { javaMajorMin } from './limits.js'
import { LocalStack } from './local-stack.js'
import { findDocker, findJava, findMaven, findProgram, runProgram } from './programs.js'
import { defaultStateDir, stateFolder } from './state-folder.js'

/** One thing that was looked at. `missing` is needed and not there; `optional` is not there and not needed. */
export interface Finding {
  group: 'machine' | 'programs' | 'libraries' | 'kafka' | 'gpu'
  name: string
  state: 'ok' | 'missing' | 'optional'
  /** What was found, for a person. */
  found: string
  remedy?: string
}

/** Loading a library for the first time reads tens of megabytes. */
const loadMsMax = 20_000
/** Heap of the local stack, the engine and its models, with something to spare. */
const memoryGigabytesMin = 3

/** Looks at everything that Harrier uses on this machine. Starts and changes nothing. */
export async function examine(options: ConnectionOptions = {}): Promise<Finding[]> {
  const [docker, java, maven] = await Promise.all([findDocker(), findJava(), findMaven()])
  const folder = stateFolder(defaultStateDir())
  const fetched = isFetched(folder.lib, 'kafka') && isFetched(folder.lib, 'registry')
  const dockerWorks = docker.state === 'answers' && docker.compose
  const kafka = await examineKafka(options)
  const configured = kafka.some((finding) => finding.name.startsWith('configured'))
  const stackIsUp = kafka.some((finding) => finding.name === 'local stack' && finding.state === 'ok')
  // Java and Maven are needed only where nothing else brings a broker.
  const otherWay = dockerWorks || configured || stackIsUp
  const javaOk = java !== undefined && java.major >= javaMajorMin
  const programs: Finding[] = [
    {
      group: 'programs',
      name: 'Docker engine',
      state: dockerWorks ? 'ok' : 'optional',
      found: describeDocker(docker),
      ...(dockerWorks ? {} : { remedy: `only if you want the stack in Docker: ${docker.state === 'answers' ? 'apt-get install docker-compose-plugin' : 'start its engine'}` }),
    },
    {
      group: 'programs',
      name: 'Java',
      state: javaOk ? 'ok' : otherWay ? 'optional' : 'missing',
      found: java ? java.version : 'not found',
      ...(javaOk ? {} : { remedy: 'apt-get install openjdk-17-jre-headless' }),
    },
    {
      group: 'programs',
      name: 'Maven',
      state: maven ? 'ok' : otherWay || fetched ? 'optional' : 'missing',
      found: maven ? maven.version : fetched ? 'not found; the stack is fetched already' : 'not found',
      ...(maven ? {} : { remedy: 'apt-get install maven' }),
    },
  ]
  const { features, ...kafkaClient } = await examineKafkaClient()
  const secured = features === undefined ? [] : [examineSecurity(features, kafka.some(({ name, found }) => name === 'configured brokers' && /TLS|PLAIN|SCRAM|OAUTH/.test(found)))]
  return [...examineMachine(), ...programs, await examineToolchain(kafkaClient.state === 'ok'), kafkaClient, ...secured, ...(await examineOnnxruntime()), ...kafka]
}

function examineMachine(): Finding[] {
  const nodeOk = supportsNode(process.versions.node)
  const memory = totalmem() / 2 ** 30
  const cores = availableParallelism()
  return [
    { group: 'machine', name: 'Node.js', state: nodeOk ? 'ok' : 'missing', found: process.versions.node, ...(nodeOk ? {} : { remedy: 'Node.js 20.15 or later' }) },
    { group: 'machine', name: 'cores', state: 'ok', found: `${cores} (${cpus()[0]?.model.trim() ?? process.arch})` },
    { group: 'machine', name: 'instruction set', state: 'ok', found: instructionSet() },
    {
      group: 'machine',
      name: 'memory',
      state: memory >= memoryGigabytesMin ? 'ok' : 'missing',
      found: `${memory.toFixed(1)} GiB, ${(freemem() / 2 ** 30).toFixed(1)} GiB free`,
      ...(memory >= memoryGigabytesMin ? {} : { remedy: `the stack and the engine want ${memoryGigabytesMin} GiB together` }),
    },
  ]
}

export function supportsNode(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 20 || (major === 20 && minor >= 9)
}

/** What decides how fast, and to the bit how, the CPU computes a score. */
function instructionSet(): string {
  const telling = /^(avx2|avx512f|avx512_vnni|avx512_bf16|amx_tile|fma|asimd|sve|sve2|i8mm|bf16)$/
  try {
    const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
    return `${process.arch}: ${line.split(' ').filter((flag) => telling.test(flag)).sort().join(', ') || 'no vector extensions'}`
  } catch {
    return process.arch
  }
}

function describeDocker(docker: Awaited<ReturnType<typeof findDocker>>): string {
  if (docker.state === 'absent') return 'not found'
  if (docker.state === 'no engine') return `client only, no engine${docker.reason ? ` (${docker.reason.split('. ')[0]})` : ''}`
  return docker.compose ? docker.version : `${docker.version}, without the compose plugin`
}

/** Needed only to compile librdkafka and the native client, at `npm ci`. */
async function examineToolchain(compiledAlready: boolean): Promise<Finding> {
  const tools = ['g++', 'make', 'python3']
  const absent = tools.filter((tool) => findProgram(tool) === undefined)
  const versions = await Promise.all(tools.filter((tool) => !absent.includes(tool)).map(async (tool) => (await runProgram(tool, ['--version'])).stdout))
  const found = versions.map((text) => (text.split('\n')[0] ?? '').replace(/\(.*?\) */, '').replace('GNU ', '').trim())
  return {
    group: 'programs',
    name: 'C++ toolchain',
    state: absent.length === 0 ? 'ok' : compiledAlready ? 'optional' : 'missing',
    found: absent.length === 0 ? found.join(', ') : `without ${absent.join(', ')}`,
    ...(absent.length === 0 ? {} : { remedy: 'apt-get install g++ make python3, then npm ci' }),
  }
}

/** Loads a library in a process of its own, so that one that crashes is a finding and not the end of the doctor. */
async function load(name: string, expression: string): Promise<{ ok: true; value: Record<string, unknown> } | { ok: false; why: string }> {
  try {
    const path = createRequire(import.meta.url).resolve(name)
    const script = `const it = require(process.argv[1]); process.stdout.write('\\n' + JSON.stringify(${expression}))`
    const ran = await runProgram(process.execPath, ['-e', script, path], { limitMs: loadMsMax })
    const line = ran.stdout.split('\n').at(-1) ?? ''
    if (ran.code === 0) return { ok: true, value: JSON.parse(line) as Record<string, unknown> }
    if (/different Node\.js version/.test(ran.stderr)) return { ok: false, why: 'it was compiled for another version of Node.js' }
    return { ok: false, why: /^.*Error.*$/m.exec(ran.stderr)?.[0] ?? (ran.stderr.trim().split('\n').at(-1) || `it ended with code ${ran.code}`) }
  } catch (error) {
    return { ok: false, why: messageOf(error).split('\n')[0] ?? '' }
  }
}

/** What a secured cluster needs of the build: there when the headers of OpenSSL were there at `npm ci`. */
function examineSecurity(features: readonly string[], wanted: boolean): Finding {
  const names = { ssl: 'TLS', sasl_plain: 'PLAIN', sasl_scram: 'SCRAM', sasl_oauthbearer: 'OAUTHBEARER' }
  const of = (there: boolean): string => Object.entries(names).filter(([feature]) => features.includes(feature) === there).map(([, name]) => name).join(', ')
  const complete = of(false) === ''
  return {
    group: 'libraries',
    name: '  secured clusters',
    state: complete ? 'ok' : wanted ? 'missing' : 'optional',
    found: complete ? of(true) : `without ${of(false)}`,
    ...(complete ? {} : { remedy: `only for clusters with TLS or SASL: ${rebuildRemedy}` }),
  }
}

/** Harrier's own addon over librdkafka, by which all that is a record is read and written. */
async function examineKafkaClient(): Promise<Finding & { features?: string[] }> {
  const base = { group: 'libraries', name: 'native Kafka client' } as const
  const loaded = existsSync(nativeFile) ? await load(nativeFile, '{ version: it.version, features: it.features }') : ({ ok: false, why: 'it was not compiled' } as const)
  if (loaded.ok) return { ...base, state: 'ok', found: `loads, librdkafka ${String(loaded.value.version)}`, features: String(loaded.value.features).split(',') }
  return { ...base, state: 'missing', found: `does not load: ${loaded.why}`, remedy: nativeRemedy }
}

async function examineOnnxruntime(): Promise<Finding[]> {
  const version = "require(require('path').join(process.argv[1].slice(0, process.argv[1].lastIndexOf('onnxruntime-node')), 'onnxruntime-node/package.json')).version"
  const loaded = await load('onnxruntime-node', `{ version: ${version}, backends: it.listSupportedBackends() }`)
  const base = { group: 'libraries', name: 'onnxruntime-node' } as const
  if (!loaded.ok) return [{ ...base, state: 'missing', found: `does not load: ${loaded.why}`, remedy: 'npm ci' }]
  const backends = loaded.value.backends as { name: string; bundled: boolean }[]
  const providers = backends.map((backend): Finding => {
    const remedy = backend.name === 'cuda' ? { remedy: 'only for NVIDIA GPUs: harrier doctor --gpu tells what else they need' } : {}
    return {
      group: 'libraries',
      name: `  ${backend.name}`,
      state: backend.bundled ? 'ok' : 'optional',
      found: backend.bundled ? (backend.name === 'webgpu' ? 'in the package; runs where a Vulkan, Metal or D3D12 driver is (harrier doctor --gpu)' : 'in the package') : 'not in the package',
      ...(backend.bundled ? {} : remedy),
    }
  })
  return [{ ...base, state: 'ok', found: `loads, ${String(loaded.value.version)}` }, ...providers]
}

async function examineKafka(options: ConnectionOptions): Promise<Finding[]> {
  const findings: Finding[] = []
  const configured = configuredConnections(options)
  if (configured) {
    const [broker, registry] = await Promise.all([askBroker(configured.brokers, configured.security), askRegistry(configured.registryUrl, configured.registrySecurity)])
    const asked = [
      { name: 'configured brokers', address: `${configured.brokers} (${describeSecurity(configured.security ?? {})})`, answer: broker },
      { name: 'configured registry', address: configured.registryUrl, answer: registry },
    ]
    for (const { name, address, answer } of asked) {
      const remedy = answer.ok ? {} : { remedy: answer.remedy ?? 'start it, or correct the address' }
      findings.push({ group: 'kafka', name, state: answer.ok ? 'ok' : 'missing', found: `${address}: ${answer.detail}`, ...remedy })
    }
  }
  const stack = new LocalStack()
  findings.push({ group: 'kafka', name: 'state folder', state: 'ok', found: stack.folder.root })
  try {
    const { state, mode, brokers, registryUrl } = await stack.status()
    const up = state === 'up'
    const found = up ? `up (${mode}): ${brokers}, ${registryUrl}` : state
    findings.push({ group: 'kafka', name: 'local stack', state: up ? 'ok' : 'optional', found, ...(up ? {} : { remedy: 'harrier stack up (npm start does it by itself)' }) })
  } catch (error) {
    findings.push({ group: 'kafka', name: 'local stack', state: 'missing', found: messageOf(error), remedy: `remove ${stack.folder.record}, then harrier stack up` })
  }
  return findings
}
