import { Kafka, logLevel } from 'kafkajs'
import type { Logger } from '../../base/logger.js'
import { messageOf } from '../../base/errors.js'
import { uniqueSuffix } from '../../base/prng.js'
import type { Connections } from '../../stack/connections.js'

const pattern = /^(demo-(\d{8})-(\d{6})-[0-9a-f]{4})\./
/** A demo that began so recently may not have joined its group yet: it is left alone. */
const youngMs = 120_000
const requestMsMax = 10_000

/** `demo-20261123-201530-4f2a`: begins with its time, so that later demos know its age. */
export function newDemoNamespace(nowMs: number): string {
  const [date, time] = new Date(nowMs).toISOString().slice(0, 19).replace(/[-:]/g, '').split('T')
  return `demo-${date}-${time}-${uniqueSuffix().slice(0, 4)}`
}

/** The namespace of a demo that a name on the cluster belongs to, and when it began; undefined for names of others. */
export function demoOf(name: string): { namespace: string; beganMs: number } | undefined {
  const match = pattern.exec(name)
  if (!match) return undefined
  const [, namespace, date, time] = match as unknown as [string, string, string, string]
  const iso = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6, 8)}T${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4, 6)}Z`
  const beganMs = Date.parse(iso)
  return Number.isNaN(beganMs) ? undefined : { namespace, beganMs }
}

/**
 * Deletes topics, groups and subjects of demos that are over; returns how many demos. Only for the local stack, never for
 * a cluster of the user's. A demo that still runs is left alone, and what cannot be deleted is logged and left to the next.
 */
export async function removeEarlierDemos(connections: Connections, options: { nowMs: number; logger: Logger }): Promise<number> {
  const { brokers, registryUrl } = connections
  const kafka = new Kafka({ clientId: 'harrier-demo', brokers: brokers.split(','), logLevel: logLevel.NOTHING, requestTimeout: requestMsMax, retry: { retries: 3 } })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const [topics, { groups }] = await Promise.all([admin.listTopics(), admin.listGroups()])
    const demoGroups = groups.map(({ groupId }) => groupId).filter((groupId) => demoOf(groupId))
    const described = demoGroups.length > 0 ? (await admin.describeGroups(demoGroups)).groups : []
    const running = new Set(described.filter(({ state }) => state !== 'Empty' && state !== 'Dead').map(({ groupId }) => demoOf(groupId)!.namespace))
    const isOver = (name: string): boolean => {
      const demo = demoOf(name)
      return demo !== undefined && options.nowMs - demo.beganMs > (demoGroups.some((groupId) => groupId.startsWith(demo.namespace)) ? 0 : youngMs) && !running.has(demo.namespace)
    }
    const oldTopics = topics.filter(isOver)
    const oldGroups = demoGroups.filter(isOver)
    if (oldTopics.length > 0) await admin.deleteTopics({ topics: oldTopics, timeout: requestMsMax })
    if (oldGroups.length > 0) await admin.deleteGroups(oldGroups)
    await removeSubjects(registryUrl, isOver)
    return new Set([...oldTopics, ...oldGroups].map((name) => demoOf(name)!.namespace)).size
  } catch (error) {
    options.logger.log('warn', 'what earlier demos left could not be removed', { cause: messageOf(error) })
    return 0
  } finally {
    await admin.disconnect()
  }
}

async function removeSubjects(registryUrl: string, isOver: (name: string) => boolean): Promise<void> {
  const answer = await fetch(`${registryUrl}/subjects`, { signal: AbortSignal.timeout(requestMsMax) })
  const subjects = (await answer.json()) as string[]
  for (const subject of subjects.filter(isOver)) {
    await fetch(`${registryUrl}/subjects/${encodeURIComponent(subject)}`, { method: 'DELETE', signal: AbortSignal.timeout(requestMsMax) })
  }
}
