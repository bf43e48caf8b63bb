import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { AccessControl } from '../../src/access/access-control.js'
import { systemClock } from '../../src/base/clock.js'
import { Prng } from '../../src/base/prng.js'
import type { RegistryClient } from '../../src/codec/registry-client.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'
import type { ScoreGateway, ScoreRequest } from '../../src/topology/score-gateway.js'
import { TransactionEncoder } from '../../src/topology/transaction-encoder.js'
import { fakeRegistry } from '../codec/decode-fixture.js'
import { RawClient, type RawAnswer } from './raw-client.js'
import { marker, nextRequest } from './request-fuzz.js'
import { testService } from './web-fixture.js'

/** FUZZ_REQUESTS=100000 node scripts/test.js web/fuzz */
const requests = Number(process.env.FUZZ_REQUESTS ?? 2000)
const seed = Number(process.env.SEED ?? 9)
const clients = 4
/** Memory is held against what it was after a warm-up of so many requests. */
const warmUp = Math.max(1000, Math.min(20_000, requests / 5))
const heapGrowthMax = 4 << 20
const inside = /node_modules|\.[jt]s:\d|\n +at |FST_|HPE_|ERR_[A-Z]|ENOENT|onnxruntime|Cannot read|is not a function|is not iterable|Error:|\/src\/|\/dist\//

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes in use once nothing is left to collect. */
async function heapUsed(): Promise<number> {
  for (let times = 0; times < 4; times++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed: heap, arrayBuffers, external } = process.memoryUsage()
  return heap + external + arrayBuffers
}

/** The gateway up to where the broker begins: transactions are checked and encoded as they are. */
async function gatewayWithoutBroker(): Promise<ScoreGateway> {
  const topology = loadTopology('card-fraud')
  const registry = { ...fakeRegistry(new Map([[1, topology.readerSchema!]])), latest: () => Promise.resolve(undefined), register: () => Promise.resolve(1) } as unknown as RegistryClient
  const encoder = await TransactionEncoder.open(topology, topologyNames(topology), registry)
  const score = async ({ body, json }: ScoreRequest): Promise<unknown> => {
    await encoder.encode(body, json)
    return { event: { event_id: '1', entity: '1', score: 0.1, decision: 'APPROVE', model: 'card-gru@1', lineage: {} }, isRepeated: false }
  }
  return { topology: topology.name, score } as unknown as ScoreGateway
}

describe('the service under requests that are wrong', () => {
  for (const withKeys of [false, true]) {
    const count = withKeys ? Math.ceil(requests / 10) : requests
    it(`answers ${count} of them${withKeys ? ', asking for keys,' : ''} without a failure, a word of its inside, or growth (seed ${seed})`, { timeout: 3_600_000 }, async (t) => {
      const lines: string[] = []
      const note = (message: string, fields?: object): void => {
        const line = `${message} ${JSON.stringify(fields ?? {})}`
        if (line.includes(marker) || message === 'a request met a bug') lines.push(line)
      }
      const logger = { log: (_: string, message: string, fields?: object) => note(message, fields) }
      const access = withKeys ? await AccessControl.open({ clock: systemClock, logger }) : undefined
      const service = await testService({ models: ['card-row'], logger, parts: { gateway: await gatewayWithoutBroker(), access } })
      try {
        await service.app.listen({ port: 0, host: '127.0.0.1' })
        const { port } = service.app.server.address() as AddressInfo
        const predict = async (): Promise<string> => (await service.app.inject({ method: 'POST', url: '/predict', payload: { input: Array<number>(14).fill(0.5) } })).body.replace(/"request_id":"[^"]*"/, '')
        const before = await predict()
        const statuses = new Map<number, number>()
        const problems: string[] = []
        let sent = 0
        let heapBefore = NaN
        const run = async (until: number): Promise<void> => {
          await Promise.all(Array.from({ length: clients }, async () => {
            const client = new RawClient(port)
            while (sent < until) {
              const number = sent++
              const request = nextRequest(new Prng(seed * 1_000_003 + number))
              const answers = await client.send(request)
              if (answers.length === 0) statuses.set(0, (statuses.get(0) ?? 0) + 1)
              for (const answer of answers) {
                statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
                const problem = problemOf(answer)
                if (problem !== undefined && problems.length < 5) problems.push(`request ${number} (${request.what}): ${problem}\n${request.bytes.toString('latin1').slice(0, 400)}\n-> ${answer.status} ${answer.body.slice(0, 300)}`)
              }
            }
            client.close()
          }))
        }
        await run(Math.min(warmUp, count))
        heapBefore = await heapUsed()
        await run(count)
        const grown = (await heapUsed()) - heapBefore
        const told = [...statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${status === 0 ? 'closed' : status}: ${times}`).join(', ')
        t.diagnostic(`${told}; memory in use ${(grown / 1024).toFixed(0)} KiB more than after ${Math.min(warmUp, count)} requests; resident ${Math.round(process.memoryUsage.rss() / 1e6)} MB`)
        assert.equal([...problems, ...lines.slice(0, 5)].join('\n\n'), '')
        assert.ok(grown < heapGrowthMax, `memory in use grew by ${grown} bytes`)
        assert.equal(await predict(), before, 'it answers as before')
        if (!withKeys) assert.ok((statuses.get(200) ?? 0) > count / 100 && (statuses.get(400) ?? 0) > count / 10, `the requests reach what they should: ${told}`)
        while ((await new Promise<number>((resolve, reject) => service.app.server.getConnections((error, open) => (error ? reject(error) : resolve(open))))) > 0) await new Promise((resolve) => setImmediate(resolve))
        assert.equal((Object.prototype as { polluted?: unknown }).polluted, undefined)
      } finally {
        await service.close()
        await access?.close()
      }
    })
  }
})

/** What is wrong with an answer, if something is. */
function problemOf({ status, head, body }: RawAnswer): string | undefined {
  if (Number.isNaN(status)) return 'no HTTP'
  if (status >= 500 && !(status === 503 && body.includes('"OVERLOADED"'))) return 'a failure of ours'
  if (!/\r\nx-content-type-options: nosniff/.test(head)) return 'without the headers of every answer'
  if (status < 400) return undefined
  if (/^HEAD /.test(body)) return undefined
  if (inside.test(body)) return 'something of the inside'
  if (body.length > 4096) return `an answer of ${body.length} bytes`
  if (body === '') return undefined
  try {
    const { error, code, remedy, request_id: id } = JSON.parse(body) as Record<string, unknown>
    return [error, code, remedy, id].every((each) => typeof each === 'string' && each.length > 0) ? undefined : 'an answer without error, code, remedy or request_id'
  } catch {
    return 'an answer that is no JSON'
  }
}
