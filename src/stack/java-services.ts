import { join } from 'node:path'
import type { Clock } from '../base/clock.js'
import { askBroker, askRegistry, type Answer } from './health.js'
import { brokerCommand, type BrokerExtras } from './kafka-service.js'
import { stackLimits } from './limits.js'
import type { OwnedProcess } from './owned-process.js'
import { registryCommand } from './registry-service.js'
import { brokersOf, registryUrlOf, type StackRecord } from './stack-record.js'
import { startService, waitUntilAnswers } from './start-service.js'
import type { StateFolder } from './state-folder.js'

export type ServiceName = keyof StackRecord['processes']

/** How each of the two processes is started and asked. */
interface JavaService {
  readonly title: string
  readonly startMsMax: number
  command(java: string, folder: StateFolder, ports: StackRecord['ports'], extras?: BrokerExtras): Promise<string[]>
  ask(record: StackRecord): Promise<Answer>
}

export const javaServices: Record<ServiceName, JavaService> = {
  kafka: {
    title: 'broker',
    startMsMax: stackLimits.brokerStartMsMax,
    command: (java, folder, ports, extras) => brokerCommand(java, folder, ports, extras),
    ask: (record) => askBroker(brokersOf(record)),
  },
  registry: {
    title: 'registry',
    startMsMax: stackLimits.registryStartMsMax,
    command: (java, folder, ports) => Promise.resolve(registryCommand(java, folder, ports.registry)),
    ask: (record) => askRegistry(registryUrlOf(record)),
  },
}

export const logFileOf = (folder: StateFolder, name: ServiceName): string => join(folder.logs, `${name}.log`)

export async function startJavaService(name: ServiceName, java: string, folder: StateFolder, ports: StackRecord['ports'], extras?: BrokerExtras): Promise<OwnedProcess> {
  const service = javaServices[name]
  return startService(service.title, await service.command(java, folder, ports, extras), logFileOf(folder, name))
}

export function waitForJavaService(name: ServiceName, started: OwnedProcess, folder: StateFolder, record: StackRecord, clock: Clock): Promise<void> {
  const service = javaServices[name]
  return waitUntilAnswers(service.title, started, logFileOf(folder, name), service.startMsMax, () => service.ask(record), clock)
}
