import type { FastifyInstance } from 'fastify'
import { withTimeout } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { serviceLimits } from './service-limits.js'
import type { TlsIdentity } from './tls-identity.js'

export interface ListenAddress {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
}

/** A service that listens. */
export interface Service {
  readonly url: string
  readonly app: FastifyInstance
  /** Takes no more, and waits a while for what is being answered. */
  close(): Promise<void>
}

/** Errors: CONFIG_INVALID when the address cannot be listened on. */
export async function listenOn(app: FastifyInstance, { host, port }: ListenAddress, { tls, logger }: { readonly tls?: TlsIdentity | undefined; readonly logger: Logger }): Promise<Service> {
  let url: string
  try {
    url = await app.listen({ host, port })
  } catch (error) {
    await app.close()
    throw new HarrierError('CONFIG_INVALID', `the service cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error, remedy: 'choose another address' })
  }
  const stopFollowing = tls?.follow(app.server, logger)
  return {
    url,
    app,
    async close() {
      stopFollowing?.()
      await withTimeout(app.close(), serviceLimits.closeMsMax, () => new Error('connections are still open')).catch((error: unknown) => {
        logger.log('warn', 'the service was closed before its last answers', { cause: messageOf(error) })
        app.server.closeAllConnections()
      })
    },
  }
}
