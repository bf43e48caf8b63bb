import { Kafka, logLevel } from 'kafkajs'
import { withTimeout } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import { stackLimits } from './limits.js'

/** Whether something answers, and what it said. */
export type Answer = { ok: true; detail: string } | { ok: false; detail: string }

/** Asks a broker for its cluster: ready when it knows a controller and at least one broker. */
export async function askBroker(brokers: string, limitMs: number = stackLimits.answerMsMax): Promise<Answer> {
  const kafka = new Kafka({
    clientId: 'harrier-stack',
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: limitMs,
    requestTimeout: limitMs,
    retry: { retries: 0 },
  })
  const admin = kafka.admin({ retry: { retries: 0 } })
  try {
    const ask = async (): Promise<Answer> => {
      await admin.connect()
      const cluster = await admin.describeCluster()
      if (cluster.brokers.length === 0 || cluster.controller === null || cluster.controller < 0) return { ok: false, detail: 'no broker is ready yet' }
      return { ok: true, detail: `${cluster.brokers.length} broker${cluster.brokers.length === 1 ? '' : 's'}, cluster ${cluster.clusterId}` }
    }
    return await withTimeout(ask(), limitMs, () => new Error(`no answer within ${limitMs} ms`))
  } catch (error) {
    return { ok: false, detail: messageOf(error) }
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** Asks a registry for its subjects. `registryUrl` is the base of the Confluent API. */
export async function askRegistry(registryUrl: string, limitMs: number = stackLimits.answerMsMax): Promise<Answer> {
  try {
    const url = new URL(registryUrl)
    const headers: Record<string, string> = { accept: 'application/vnd.schemaregistry.v1+json' }
    if (url.username) headers.authorization = `Basic ${Buffer.from(decodeURIComponent(`${url.username}:${url.password}`)).toString('base64')}`
    url.username = url.password = ''
    const response = await fetch(`${url.href.replace(/\/$/, '')}/subjects`, { headers, signal: AbortSignal.timeout(limitMs) })
    if (!response.ok) return { ok: false, detail: `HTTP ${response.status}` }
    const subjects = (await response.json()) as unknown
    return Array.isArray(subjects) ? { ok: true, detail: `${subjects.length} subjects` } : { ok: false, detail: 'it does not speak the Confluent API' }
  } catch (error) {
    const cause = error instanceof Error && error.cause ? `: ${messageOf(error.cause)}` : ''
    return { ok: false, detail: messageOf(error) + cause }
  }
}
