/** A failed assertion is our bug; an error is the world. Assertions stay on in production. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new AssertionError(what)
}

export class AssertionError extends Error {
  override name = 'AssertionError'
  constructor(what: string) {
    super(`assertion failed: ${what} (a bug in Harrier; please report it)`)
  }
}

export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value ${JSON.stringify(value)}`)
}
