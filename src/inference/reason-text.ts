/**
 * Texts of reasons: `{name}` stands for a value, `{name:format:format}` for what the formats make of it, from left to right.
 * A number without a format has two decimals, or none where it is whole.
 */
const placeholder = /\{([^{}]*)\}/g
const decimals = /^[0-6]$/

const formats: Readonly<Record<string, (value: number) => number | string>> = {
  /** e^x - 1: undoes a log1p. */
  expm1: (value) => Math.expm1(value),
  /** Seconds, for people. */
  duration: (value) => durationText(value),
  /** A share of 1. */
  percent: (value) => `${(value * 100).toFixed(0)} %`,
}

const known = (name: string): boolean => name in formats || decimals.test(name)

/** What is wrong with a text, or undefined. `names`: what may stand in braces. */
export function templateProblem(text: string, names: readonly string[]): string | undefined {
  for (const [whole, inner] of text.matchAll(placeholder)) {
    const [name, ...wanted] = inner!.split(':')
    if (!names.includes(name!)) return `${whole}: there is no value "${name}"; write one of ${names.join(', ')}`
    const wrong = wanted.find((format) => !known(format))
    if (wrong !== undefined) return `${whole}: there is no format "${wrong}"; write 0 to 6 (decimals), ${Object.keys(formats).join(', ')}`
  }
  const rest = text.replace(placeholder, '')
  return /[{}]/.test(rest) ? 'a brace has no other; write {name}' : undefined
}

/** Puts values into a text that has been checked. */
export function fillTemplate(text: string, valueOf: (name: string) => number | string): string {
  return text.replace(placeholder, (_, inner: string) => {
    const [name, ...wanted] = inner.split(':')
    let value = valueOf(name!)
    for (const format of wanted) if (typeof value === 'number') value = decimals.test(format) ? value.toFixed(Number(format)) : formats[format]!(value)
    if (typeof value === 'string') return value
    return Number.isInteger(value) ? String(value) : value.toFixed(2)
  })
}

/** Seconds as a person says them: `45 s`, `90 min`, `20 h`, `12 days`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 120) return `${whole} s`
  if (whole < 7_200) return `${Math.round(whole / 60)} min`
  return whole < 172_800 ? `${Math.round(whole / 3_600)} h` : `${Math.round(whole / 86_400)} days`
}
