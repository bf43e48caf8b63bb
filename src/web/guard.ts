import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { anybody, demand, type AccessControl } from '../access/access-control.js'
import type { Principal, Role } from '../access/key-record.js'
import { HarrierError } from '../base/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use the route; default: viewers. */
    role?: Role
  }
  interface FastifyRequest {
    principal: Principal
  }
}

/**
 * Lets nobody past who has no right to a route: before its body is read. A model or a topology in the path is part of the right;
 * handlers ask for those in a body with `demand`.
 */
export function guard(app: FastifyInstance, access: AccessControl | undefined): void {
  app.decorateRequest('principal', null as unknown as Principal)
  app.addHook('onRequest', async (request) => {
    request.principal = access ? await access.authenticate(credentialOf(request)) : anybody
    const { model, topology } = request.params as { model?: string; topology?: string }
    demand(request.principal, request.routeOptions.config.role ?? 'viewer', { ...(model === undefined ? {} : { model }), ...(topology === undefined ? {} : { topology }) })
  })
}

/** `Authorization: Bearer …`, or `X-API-Key` for clients that know nothing else. */
export function credentialOf({ headers }: FastifyRequest): string | undefined {
  const { authorization, 'x-api-key': key } = headers
  if (authorization !== undefined) return /^Bearer (\S+)$/i.exec(authorization)?.[1] ?? ''
  return Array.isArray(key) ? '' : key
}

/** Does work that gives scores, as far as the quota of whoever asks goes; the answer says what is left of it. Errors: QUOTA_EXCEEDED. */
export async function counted<T>(access: AccessControl | undefined, request: FastifyRequest, reply: FastifyReply, subject: string, scores: number, work: () => Promise<T>): Promise<T> {
  if (!access) return await work()
  let lease: ReturnType<AccessControl['enter']>
  try {
    lease = access.enter(request.principal, subject, scores)
  } catch (error) {
    if (error instanceof HarrierError && error.code === 'QUOTA_EXCEEDED') reply.headers({ 'ratelimit-remaining': 0, 'ratelimit-reset': Math.ceil((error.retryAfterMs ?? 1000) / 1000) })
    throw error
  }
  const { state } = lease
  if (state) reply.headers({ 'ratelimit-limit': state.limit, 'ratelimit-remaining': state.remaining, 'ratelimit-reset': state.resetSeconds, 'ratelimit-policy': state.policy })
  try {
    return await work()
  } finally {
    lease.release()
  }
}
