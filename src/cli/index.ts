import type { Command } from 'commander'

/** A module of this folder: adds the command of its name, or a group of commands. */
interface CommandModule {
  register(program: Command): void
}

/** In the order of `harrier --help`. A command is loaded when it is wanted: all of them take three times as long as one. */
const commandGroups: Readonly<Record<string, Readonly<Record<string, () => Promise<CommandModule>>>>> = {
  'See it work:': {
    start: () => import('./start.js'),
    doctor: () => import('./doctor.js'),
    stack: () => import('./stack.js'),
  },
  'Score your stream:': {
    topology: () => import('./topology.js'),
    run: () => import('./run.js'),
    serve: () => import('./serve.js'),
    keys: () => import('./keys.js'),
    privacy: () => import('./privacy.js'),
    rebuild: () => import('./rebuild.js'),
    tail: () => import('./tail.js'),
    models: () => import('./models.js'),
    forget: () => import('./forget.js'),
  },
  'Train and try:': {
    simulate: () => import('./simulate.js'),
    features: () => import('./features.js'),
    backtest: () => import('./backtest.js'),
  },
  'Measure and prove:': {
    lineage: () => import('./lineage.js'),
    audit: () => import('./audit.js'),
    archive: () => import('./archive.js'),
    bench: () => import('./bench.js'),
    soak: () => import('./soak.js'),
  },
}

/** Adds the command of this name; all of them where there is none, so that a person sees what there is. */
export async function addCommands(program: Command, name: string | undefined): Promise<void> {
  const isCommand = Object.values(commandGroups).some((commands) => name !== undefined && Object.hasOwn(commands, name))
  for (const [heading, commands] of Object.entries(commandGroups)) {
    program.commandsGroup(heading)
    for (const [each, load] of Object.entries(commands)) if (!isCommand || each === name) (await load()).register(program)
  }
}
