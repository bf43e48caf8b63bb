import type { AuditedAction, AuditTrail } from '../access/audit-trail.js'
import type { Principal } from '../access/key-record.js'
import { messageOf } from '../base/errors.js'
import type { ServiceParts } from './service-parts.js'

/** An action that was done, for the log and the audit. What was done stays done: where it cannot be noted any more, the log has it. */
export async function noted({ logger }: Pick<ServiceParts, 'logger'>, audit: AuditTrail | undefined, principal: Principal, action: AuditedAction): Promise<void> {
  const { before: _before, after: _after, ...fields } = action
  logger.log('info', 'an administrative action', { ...fields, actor: principal.name, who: principal.id })
  await audit?.note(principal, action).catch((error: unknown) => logger.log('error', 'an action could not be noted in the audit', { ...fields, who: principal.id, cause: messageOf(error) }))
}
