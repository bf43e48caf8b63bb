import { Tokeniser, type TokenKey, type TokenKeyName } from '../privacy/tokeniser.js'

/** The tokens that outputs carry in place of a topology's personal fields. */
export class OutputTokens {
  readonly tokeniser: Tokeniser
  /** What lineage says of the keys. */
  readonly names: readonly TokenKeyName[]
  readonly #domains = new Map<string, number>()

  /** `keys`: those in force, oldest first. `domains`: by field. */
  constructor(keys: readonly TokenKey[], domains: ReadonlyMap<string, string>) {
    const places = [...new Set(domains.values())]
    for (const [field, domain] of domains) this.#domains.set(field, places.indexOf(domain))
    this.tokeniser = new Tokeniser(keys, places)
    this.names = keys.map(({ version, id }) => ({ version, id }))
  }

  /** The number of a field's domain; -1: it is not personal. */
  domainOf(field: string): number {
    return this.#domains.get(field) ?? -1
  }

  /** The attribute beside a field that has its token under the second key in force; undefined where one key is. */
  secondName(field: string): string | undefined {
    const second = this.names[1]
    return second && `${field}@${second.version}`
  }
}
