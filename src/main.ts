import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { HarrierError, messageOf } from './base/errors.js'
import { commands } from './cli/index.js'

const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

/** Runs one command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. */
export async function main(argv: string[]): Promise<void> {
  const program = new Command('harrier')
    .description('Streaming scoring for finance: sequence models over Kafka, exactly once, with lineage for every score.')
    .version(packageJson.version)
    .showHelpAfterError('(see harrier --help)')
  for (const register of commands) register(program)
  try {
    await program.parseAsync(argv)
  } catch (error) {
    if (error instanceof HarrierError) {
      process.stderr.write(`harrier: ${error.message}\n  what to do: ${error.remedy}  [${error.code}]\n`)
      process.exitCode = error.code.endsWith('INVALID') || error.code === 'USAGE' ? 2 : 1
    } else {
      process.stderr.write(`harrier: ${error instanceof Error && error.stack ? error.stack : messageOf(error)}\n`)
      process.exitCode = 1
    }
  }
}
