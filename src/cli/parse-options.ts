import { InvalidArgumentError } from 'commander'
import type { DevicePolicy } from '../inference/device.js'

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
