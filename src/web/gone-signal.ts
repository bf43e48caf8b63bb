import type { FastifyReply } from 'fastify'

/** Fires when the client has closed its connection before it had its answer: what waits for it need not be computed. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return gone.signal
}
