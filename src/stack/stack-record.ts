import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { HarrierError } from '../base/errors.js'

const ownedProcess = z.object({ pid: z.number().int().positive(), identity: z.string().min(1) })

const recordSchema = z.object({
  format: z.literal(1),
  /** `java`: processes of ours; `docker`: a compose project. */
  mode: z.enum(['java', 'docker']),
  versions: z.object({ kafka: z.string(), registry: z.string() }),
  /** On 127.0.0.1; kept from one up to the next while they are free. */
  ports: z.object({ kafka: z.number().int(), controller: z.number().int(), registry: z.number().int() }),
  /** What was started and not yet stopped; only with mode `java`. */
  processes: z.object({ kafka: ownedProcess.optional(), registry: ownedProcess.optional() }),
})

/** stack.json: what a later command must know about the stack. */
export type StackRecord = z.infer<typeof recordSchema>

export function readRecord(path: string): StackRecord | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return recordSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new HarrierError('STACK_FAILED', `${path} cannot be read as the record of a stack`, {
      cause,
      remedy: `stop the stack's processes if there are any, remove ${path}, then \`harrier stack up\``,
    })
  }
}

/** Replaces the record in one step: a reader sees the old one or the new one. */
export function writeRecord(path: string, record: StackRecord): void {
  mkdirSync(dirname(path), { recursive: true })
  const aside = `${path}.new`
  writeFileSync(aside, `${JSON.stringify(record, null, 2)}\n`)
  renameSync(aside, path)
}

export function removeRecord(path: string): void {
  rmSync(path, { force: true })
}

export const brokersOf = (record: StackRecord): string => `127.0.0.1:${record.ports.kafka}`

export const registryUrlOf = (record: StackRecord): string => `http://127.0.0.1:${record.ports.registry}/apis/ccompat/v7`
