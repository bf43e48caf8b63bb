import { HarrierError } from '../base/errors.js'

/** Where objects lie: a bucket, and what their names begin with. */
export interface ObjectPlace {
  readonly bucket: string
  /** Without a slash at either end; may be empty. */
  readonly prefix: string
}

export function isObjectUrl(text: string): boolean {
  return /^s3:/i.test(text)
}

/** `s3://bucket` or `s3://bucket/prefix`. Errors: USAGE. */
export function parseObjectUrl(text: string): ObjectPlace {
  const [, bucket, rest = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text) ?? []
  const parts = rest.replace(/\/$/, '').split('/')
  if (bucket !== undefined && (rest === '' || parts.every((part) => /^[\w.=+-]+$/.test(part) && part !== '.' && part !== '..'))) return { bucket, prefix: parts.join('/') }
  throw new HarrierError('USAGE', `"${text}" is no place in an object store`, { remedy: 'write s3://<bucket> or s3://<bucket>/<prefix>, with letters, digits and . _ = + - in the prefix' })
}
