import { createServer } from 'node:net'
import { HarrierError } from '../base/errors.js'
import { stackLimits } from './limits.js'

/** Below the range from which Linux takes ports for outgoing connections, so that none of these takes ours between two ups. */
export const preferredPorts = { kafka: 19092, controller: 19093, registry: 19081 } as const

export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** The first free port on loopback from `preferred` upwards that is not in `taken`. */
export async function freePort(preferred: number, taken: readonly number[] = []): Promise<number> {
  for (let port = preferred; port < preferred + stackLimits.portsTriedMax; port++) {
    if (!taken.includes(port) && (await isPortFree(port))) return port
  }
  throw new HarrierError('STACK_FAILED', `no free port on 127.0.0.1 from ${preferred} to ${preferred + stackLimits.portsTriedMax - 1}`)
}
