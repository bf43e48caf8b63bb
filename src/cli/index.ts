import type { Command } from 'commander'

/** Each file of this folder adds one command (or group of commands). One line each, in the order of `harrier --help`. */
export const commands: ((program: Command) => void)[] = []
