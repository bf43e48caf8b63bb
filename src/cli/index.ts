import type { Command } from 'commander'
import { register as stack } from './stack.js'

/** Each file of this folder adds one command (or group of commands). One line each, in the order of `harrier --help`. */
export const commands: ((program: Command) => void)[] = [
  stack,
]
