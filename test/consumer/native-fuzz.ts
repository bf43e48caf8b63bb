import { createRequire } from 'node:module'
import { Prng } from '../../src/base/prng.js'
import type { NativeBinding, NativeClient } from '../../src/consumer/native-binding.js'

/** What a fuzzed call may come to. Anything else, a crash of the process above all, is a finding. */
export interface FuzzCounts {
  returned: number
  thrown: number
  resolved: number
  rejected: number
}

const asyncMethods = ['poll', 'seek', 'committed', 'watermarks', 'partitionCount', 'partitionCounts', 'initTransactions', 'begin', 'send', 'sendOffsets', 'flush', 'commit', 'abort'] as const
const methods = [...asyncMethods, 'subscribe', 'unsubscribe', 'setTopics', 'assign', 'incrementalAssign', 'incrementalUnassign', 'pause', 'resume', 'seekSoon', 'setToken', 'knownEnd', 'interrupt'] as const
/** In front of the arguments that make sense stands whether a call of this method is worth making at all without a broker. */
const arity: Record<(typeof methods)[number], number> = {
  poll: 7, seek: 2, committed: 2, watermarks: 3, partitionCount: 2, partitionCounts: 1, initTransactions: 1, begin: 0, send: 3, sendOffsets: 3, flush: 1, commit: 1, abort: 1,
  subscribe: 1, unsubscribe: 0, setTopics: 1, assign: 1, incrementalAssign: 1, incrementalUnassign: 1, pause: 1, resume: 1, seekSoon: 1, setToken: 2, knownEnd: 2, interrupt: 0,
}

const rows = 8

/** Columns of eight rows over an arena of 64 bytes; most fields in place, some far out of it. */
function someColumns(random: Prng): unknown {
  const words = (most: number): Int32Array => Int32Array.from({ length: rows }, () => (random.below(6) === 0 ? random.below(2 ** 32) - 2 ** 31 : random.below(most) - 1))
  const arena = Uint8Array.from({ length: 64 }, () => random.below(4))
  const columns: unknown[] = [
    Uint8Array.from({ length: rows }, () => random.below(3)), words(3), new Float64Array(rows), new Float64Array(rows).fill(1000),
    words(40), words(20), words(40), words(20), words(40), words(24), arena,
  ]
  if (random.below(8) === 0) columns[random.below(11)] = anything(random)
  if (random.below(16) === 0) columns.pop()
  return columns
}

function somePartitions(random: Prng): unknown[] {
  return Array.from({ length: random.below(3) }, () => [random.below(4) === 0 ? '' : `t${random.below(2)}`, random.below(3), random.below(5) === 0 ? -random.below(2000) : random.below(100)]).flat()
}

function anything(random: Prng): unknown {
  const values: (() => unknown)[] = [
    () => undefined, () => null, () => random.below(2) === 0, () => -1, () => 0.5, () => NaN, () => Infinity, () => 2 ** 53, () => 2 ** 31, () => random.below(10), () => random.below(4),
    () => '', () => 'topic', () => 'x'.repeat(random.below(100_000)), () => '\u0000\ud800', () => [], () => ['t0', 't1'], () => Array.from({ length: 300 }, (_, i) => `t${i}`),
    () => new Uint8Array(random.below(100)), () => new Float64Array(random.below(10)), () => new Uint8Array(0), () => new DataView(new ArrayBuffer(8)), () => ({}), () => () => undefined, () => Symbol('s'), () => 10n,
    () => somePartitions(random), () => someColumns(random),
  ]
  return values[random.below(values.length)]!()
}

/** An argument that the method may take, or anything at all. */
function argument(random: Prng, method: string, index: number, client: NativeClient): unknown {
  if (random.below(5) === 0) return anything(random)
  if ((method === 'poll' || method === 'send') && index === 0) return someColumns(random)
  if (method === 'poll') return [rows, random.below(rows), random.below(64), 1 + random.below(4), 1, 0][index - 1]
  if (method === 'send') return index === 1 ? random.below(rows + 1) : ['t0', 't1', 't2']
  if (method === 'sendOffsets' && index === 1) return client
  if (['subscribe', 'setTopics'].includes(method)) return ['t0', 't1']
  if (['watermarks', 'partitionCount', 'knownEnd', 'setToken'].includes(method) && index === 0) return 'topic'
  if (index === 0 && !['partitionCounts', 'flush', 'commit', 'abort', 'initTransactions'].includes(method)) return somePartitions(random)
  return random.below(3)
}

/** Calls each method of clients without a broker with all kinds of arguments, several calls at once, and closes in their midst. */
export async function fuzzNative({ Client }: NativeBinding, seed: number, calls: number): Promise<FuzzCounts> {
  const random = new Prng(seed)
  const counts: FuzzCounts = { returned: 0, thrown: 0, resolved: 0, rejected: 0 }
  const common = ['bootstrap.servers', '127.0.0.1:9', 'log_level', '0']
  const consumerSettings = [...common, 'group.id', 'fuzz', 'group.instance.id', 'fuzz', 'partition.assignment.strategy', 'cooperative-sticky']
  const producerSettings = [...common, 'transactional.id', 'fuzz', 'queue.buffering.max.messages', '50', 'message.timeout.ms', '100', 'transaction.timeout.ms', '1000']
  for (let done = 0; done < calls; ) {
    const clients = [new Client(true, consumerSettings, () => undefined), new Client(false, producerSettings, () => undefined), new Client(false, [...common, 'message.timeout.ms', '50'], () => undefined)]
    for (const wrong of [anything(random), [anything(random)]]) {
      try {
        const made = new Client(wrong as boolean, wrong as string[], wrong as () => void)
        await made.close()
      } catch {
        counts.thrown++
      }
    }
    const pending: Promise<unknown>[] = []
    const polling = new Set<NativeClient>()
    for (let i = 0; i < 60; i++, done++) {
      const client = clients[random.below(clients.length)]!
      const method = methods[random.below(methods.length)]!
      // One poll, and one send, at a time is the caller's duty.
      if ((method === 'poll' || method === 'send' || method === 'setTopics') && polling.has(client)) continue
      const given = Array.from({ length: random.below(10) === 0 ? random.below(9) : arity[method] }, (_, index) => argument(random, method, index, clients[0]!))
      try {
        const result = (client[method] as (...all: unknown[]) => unknown)(...given)
        if (!(result instanceof Promise)) {
          counts.returned++
          continue
        }
        polling.add(client)
        pending.push(result.then(() => counts.resolved++, () => counts.rejected++).finally(() => polling.delete(client)))
        if (random.below(3) === 0) await Promise.allSettled(pending)
      } catch {
        counts.thrown++
      }
    }
    await Promise.all(clients.map((client) => client.close()))
    for (const client of clients) await client.flush(0).then(() => Promise.reject(new Error('a closed client answers')), () => counts.rejected++)
    await Promise.allSettled(pending)
  }
  return counts
}

/** `node native-fuzz.js FILE SEED CALLS`: for a build elsewhere, with AddressSanitizer for one. */
if (process.argv[1]?.endsWith('native-fuzz.js')) {
  const [file, seed, calls] = process.argv.slice(2) as [string, string, string]
  const counts = await fuzzNative(createRequire(import.meta.url)(file) as NativeBinding, Number(seed), Number(calls))
  process.stdout.write(`${JSON.stringify(counts)}\n`)
}
