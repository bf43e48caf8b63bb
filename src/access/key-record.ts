import { z } from 'zod'

/** Each may do what those before it may. */
export const roles = ['viewer', 'scorer', 'releaser', 'admin'] as const
export type Role = (typeof roles)[number]

/** What each role may do besides. */
export const roleMeanings: Readonly<Record<Role, string>> = {
  viewer: 'look at models, statistics and metrics',
  scorer: 'get scores: infer, predict, score',
  releaser: 'register model versions, put them into force and take them back; send dead letters again',
  admin: 'everything, keys included',
}

export function mayAct(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed)
}

/** Limits of one key for each model or topology that it uses; absent = none. */
export const quotaSchema = z.strictObject({
  requestsPerSecond: z.number().positive().optional(),
  scoresPerDay: z.number().int().positive().optional(),
  concurrent: z.number().int().positive().optional(),
})
export type Quota = z.infer<typeof quotaSchema>

const hash = z.string().regex(/^[0-9a-f]{64}$/)

/** A key as it stands in the topic of keys, by its prefix: never its secret. Times are ms since 1970. */
export const keyRecordSchema = z.strictObject({
  prefix: z.string().regex(/^[0-9a-f]{12}$/),
  name: z.string().min(1).max(100),
  role: z.enum(roles),
  /** Names of models and of topologies; null = all. */
  models: z.array(z.string()).nullable(),
  topologies: z.array(z.string()).nullable(),
  quota: quotaSchema,
  hash,
  /** After a rotation: the secret before, and until when it still works. */
  previous: z.strictObject({ hash, untilMs: z.number() }).nullable(),
  createdMs: z.number(),
  createdBy: z.string(),
  expiresMs: z.number().nullable(),
  revokedMs: z.number().nullable(),
})
export type KeyRecord = z.infer<typeof keyRecordSchema>

/** A record of the topic of keys; undefined for what is none: a newer version's, or somebody's accident. */
export function readKeyRecord(value: Uint8Array): KeyRecord | undefined {
  try {
    return keyRecordSchema.parse(JSON.parse(Buffer.from(value).toString()))
  } catch {
    return undefined
  }
}

/** Who asks, and what for. */
export interface Principal {
  /** For logs and quotas: `key <prefix>` or `oidc <subject>`. */
  readonly id: string
  /** For ledgers: what people call the key, or the subject of the token. */
  readonly name: string
  readonly role: Role
  readonly models: readonly string[] | null
  readonly topologies: readonly string[] | null
  readonly quota: Quota
}
