import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { HarrierError, messageOf } from './base/errors.js'
import { addCommands } from './cli/index.js'

const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const examples = `
Examples:
  A broker, card payments, scores and a live view; the key k kills the engine
    harrier start
  The same, ending by itself with one line of JSON
    harrier start --events 100000 --json
  What the engine does with an event, step by step
    harrier topology describe card-fraud
  Score a topic of your own cluster
    harrier run --brokers HOST:9092 --registry http://HOST:8081 \\
                --topology my.yaml
  Read what comes out
    harrier tail alerts --from-beginning
  Stop the local broker and registry
    harrier stack down

Broker and registry come from --brokers and --registry, from HARRIER_BROKERS
and HARRIER_REGISTRY, or from the local stack.
`

/** As a program says that ended by SIGPIPE, which Node ignores. */
const brokenPipeCode = 128 + 13

/** Runs one command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 141 nobody reads the output any more. */
export async function main(argv: string[]): Promise<void> {
  // Whoever read it has seen enough: `harrier tail scored | head`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(brokenPipeCode)
  })
  const program = new Command('harrier')
    .description('Streaming scoring for finance: sequence models over Kafka, exactly once, with lineage for every score.')
    .version(packageJson.version)
    .showHelpAfterError('(see harrier --help)')
    .helpCommand(false)
    .addHelpText('after', examples)
    .exitOverride()
  try {
    // Its version is told without them.
    if (argv[2] !== '--version' && argv[2] !== '-V') await addCommands(program, argv[2])
    await program.parseAsync(argv)
  } catch (error) {
    if (error instanceof HarrierError) {
      process.stderr.write(`harrier: ${error.message}\n  what to do: ${error.remedy}  [${error.code}]\n`)
      process.exitCode = error.code.endsWith('INVALID') || error.code === 'USAGE' ? 2 : 1
    } else if (error instanceof CommanderError) {
      // It has said what is wrong, or shown the help that was asked for.
      process.exitCode = error.exitCode === 0 ? 0 : 2
    } else {
      process.stderr.write(`harrier: ${error instanceof Error && error.stack ? error.stack : messageOf(error)}\n`)
      process.exitCode = 1
    }
  }
}
