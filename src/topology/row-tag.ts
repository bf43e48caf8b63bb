/** What a table says of a row, packed into one number that goes through the stages with it. */
export interface RowTag {
  /** Which row of the source it is, from 0. */
  readonly ordinal: number
  readonly isFraud: boolean | null
  /** 0 to 253. */
  readonly scenario: number | null
}

const codes = 1024

export function packTag({ ordinal, isFraud, scenario }: RowTag): number {
  return ordinal * codes + (scenario === null ? 0 : scenario + 1) * 4 + (isFraud === null ? 0 : isFraud ? 2 : 1)
}

export function ordinalOf(tag: number): number {
  return Math.floor(tag / codes)
}

export function isFraudOf(tag: number): boolean | null {
  const code = tag % 4
  return code <= 0 ? null : code === 2
}

export function scenarioOf(tag: number): number | null {
  const code = Math.floor((tag % codes) / 4)
  return code <= 0 ? null : code - 1
}
