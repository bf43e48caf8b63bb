import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { HarrierError } from '../base/errors.js'

export const registrationFile = 'registration.json'

/** Who registered a version, when, and what its trial run said: beside its files, and never changed. */
const registrationSchema = z.object({
  model: z.string(),
  /** As lineage names it. */
  sha256: z.string(),
  /** sha256 of every file, by name. */
  files: z.record(z.string(), z.string()),
  actor: z.string(),
  /** ISO 8601 */
  registeredAt: z.string(),
  trial: z.object({ device: z.string(), deviceClass: z.string(), rows: z.number(), golden: z.boolean(), largestDifference: z.number().nullable(), microsecondsPerRow: z.number().nullable() }),
  harrier: z.string(),
  /** Of a version that came as a file: by whose key it was signed, and who made the file. */
  importedFrom: z.object({ signedBy: z.string(), exportedBy: z.string(), exportedAt: z.string() }).optional(),
})
export type Registration = z.infer<typeof registrationSchema>

/** Undefined where the version was put there by hand. Errors: MODEL_INVALID. */
export function readRegistration(folder: string): Registration | undefined {
  const path = join(folder, registrationFile)
  return existsSync(path) ? parseRegistration(readFileSync(path, 'utf8'), path) : undefined
}

/** Errors: MODEL_INVALID. */
export function parseRegistration(text: string, path: string): Registration {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw new HarrierError('MODEL_INVALID', `${path} is not JSON`, { remedy: 'restore it, or remove it and register the version again' })
  }
  const parsed = registrationSchema.safeParse(document)
  if (parsed.success) return parsed.data
  throw new HarrierError('MODEL_INVALID', `${path} is not a registration: ${parsed.error.issues[0]!.path.join('.')}: ${parsed.error.issues[0]!.message}`, { remedy: 'restore it, or remove it and register the version again' })
}
