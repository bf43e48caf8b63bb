import { inspect } from 'node:util'

/** A password, key or token. It shows itself to nobody: text, JSON and inspection give a placeholder; only `reveal` gives the value. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** For the call that sends it, and for nothing that is kept, logged or thrown. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return placeholder
  }

  toJSON(): string {
    return placeholder
  }

  [inspect.custom](): string {
    return placeholder
  }
}

const placeholder = '<secret>'
