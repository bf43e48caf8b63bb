import { Kafka, logLevel } from 'kafkajs'
import { withTimeout } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { authorization } from '../codec/registry-client.js'
import { HttpClient } from '../connection/http-client.js'
import type { KafkaSecurity, RegistrySecurity } from '../connection/security.js'
import { lastingTrouble, withoutNoise } from '../connection/trouble.js'
import { kafkaJsSecurity } from '../consumer/kafka-security.js'
import { stackLimits } from './limits.js'

/** Whether something answers, and what it said. */
export type Answer = { ok: true; detail: string } | { ok: false; detail: string; remedy?: string }

/** Asks a broker for its cluster: ready when it knows a controller and at least one broker. */
export async function askBroker(brokers: string, security: KafkaSecurity = {}, limitMs: number = stackLimits.answerMsMax): Promise<Answer> {
  const kafka = new Kafka({
    clientId: 'harrier-stack',
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: limitMs,
    requestTimeout: limitMs,
    retry: { retries: 0 },
    ...kafkaJsSecurity(security),
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
    return { ok: false, ...explained('it', error) }
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** Asks a registry for its subjects. `registryUrl` is the base of the Confluent API. */
export async function askRegistry(registryUrl: string, { tls, login }: RegistrySecurity = {}, limitMs: number = stackLimits.answerMsMax): Promise<Answer> {
  try {
    const headers: Record<string, string> = { accept: 'application/vnd.schemaregistry.v1+json' }
    if (login) headers.authorization = await authorization(login)
    const { status, text } = await new HttpClient(tls).request(`${registryUrl}/subjects`, { method: 'GET', headers, signal: AbortSignal.timeout(limitMs) })
    if (status === 401) return { ok: false, detail: 'HTTP 401: it does not accept our credentials', remedy: 'correct registry.auth and its credentials in the connection file' }
    if (status !== 200) return { ok: false, detail: `HTTP ${status}` }
    const subjects = JSON.parse(text) as unknown
    return Array.isArray(subjects) ? { ok: true, detail: `${subjects.length} subjects` } : { ok: false, detail: 'it does not speak the Confluent API' }
  } catch (error) {
    if (error instanceof SyntaxError) return { ok: false, detail: 'it does not speak the Confluent API' }
    return { ok: false, ...explained('it', error) }
  }
}

function explained(whom: string, error: unknown): { detail: string; remedy?: string } {
  const known = error instanceof HarrierError ? error : lastingTrouble(whom, `${messageOf(error)} ${String((error as { code?: unknown }).code ?? '')}`.trim())
  return known ? { detail: known.message, remedy: known.remedy } : { detail: withoutNoise(messageOf(error)) }
}
