import { CounterSource } from './counter-source.js'
import { simulatorParameters, type SimulatorParameters } from './parameters.js'
import { generatePublished, type GenerateOptions } from './published-transactions.js'
import type { TransactionSource } from './transaction-source.js'

/** `published` draws as the original does and keeps the table in memory; `counter` draws any size day by day. */
export type GeneratorKind = 'published' | 'counter'

/** Where no generator is named, up to so many customers are drawn as published. */
export const publishedCustomersDefaultMax = 100_000

export function openSource(kind: GeneratorKind | undefined, given: Partial<SimulatorParameters>, options: GenerateOptions = {}): TransactionSource {
  const parameters = simulatorParameters(given)
  const chosen = kind ?? (parameters.customers <= publishedCustomersDefaultMax ? 'published' : 'counter')
  return chosen === 'published' ? generatePublished(parameters, options) : new CounterSource(parameters)
}
