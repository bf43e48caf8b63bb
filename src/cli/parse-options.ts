import { InvalidArgumentError } from 'commander'
import type { DevicePolicy } from '../inference/device.js'
import type { Workers } from '../topology/open-scorer.js'

/** A whole number of at least 1. */
export function parseCount(text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 1) throw new InvalidArgumentError('a whole number of at least 1 is wanted.')
  return count
}

export function parseDevice(text: string): DevicePolicy {
  if (text === 'cpu' || text === 'webgpu' || text === 'cuda' || text === 'auto') return text
  throw new InvalidArgumentError('cpu, webgpu, cuda or auto is wanted.')
}

/** Threads that run models. */
export function parseWorkers(text: string): Workers {
  return text === 'auto' ? text : parseCount(text)
}

/** A whole number of at least 0. */
export function parseNatural(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number of at least 0 is wanted.')
  return value
}

/** A time, in ms since 1970. */
export function parseTime(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new InvalidArgumentError('a time is wanted, for example 2018-08-08 or 2018-08-08T12:00:00Z.')
  return ms
}
