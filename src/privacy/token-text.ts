/** `t`, the version of the key, `_`, and 128 bits in base64url. */
const pattern = /^t([1-9]\d{0,3})_[A-Za-z0-9_-]{22}$/

/** Bytes of the digest that a token keeps: two of a thousand million values are alike with a chance of 10^-21. */
export const tokenDigestBytes = 16
export const tokenVersionMax = 9999
/** `t9999_` and 22 characters. */
export const tokenTextBytesMax = 28

/** Whether a text is a token, of whatever key. */
export function isToken(text: string): boolean {
  return pattern.test(text)
}

/** The version of the key that a token was made with; undefined for what is none. */
export function tokenVersion(text: string): number | undefined {
  const version = pattern.exec(text)?.[1]
  return version === undefined ? undefined : Number(version)
}

/** What is written before the digest. */
export function tokenPrefix(version: number): string {
  return `t${version}_`
}

const dayPattern = /^(.+)(@\d{4}-\d\d-\d\d)$/

/** The entity and the date of the id of a day that turned, `<entity>@<date>`; undefined for other ids. */
export function dayIdParts(eventId: string): { readonly entity: string; readonly date: string } | undefined {
  const match = dayPattern.exec(eventId)
  return match ? { entity: match[1]!, date: match[2]! } : undefined
}
