import type { Command } from 'commander'
import { register as archive } from './archive.js'
import { register as audit } from './audit.js'
import { register as backtest } from './backtest.js'
import { register as bench } from './bench.js'
import { register as doctor } from './doctor.js'
import { register as features } from './features.js'
import { register as keys } from './keys.js'
import { register as lineage } from './lineage.js'
import { register as models } from './models.js'
import { register as forget } from './forget.js'
import { register as privacy } from './privacy.js'
import { register as rebuild } from './rebuild.js'
import { register as simulate } from './simulate.js'
import { register as serve } from './serve.js'
import { register as soak } from './soak.js'
import { register as stack } from './stack.js'
import { register as start } from './start.js'
import { register as run } from './run.js'
import { register as tail } from './tail.js'
import { register as topology } from './topology.js'

export interface CommandGroup {
  readonly heading: string
  readonly commands: readonly ((program: Command) => void)[]
}

/** Each file of this folder adds one command (or group of commands). One line each, in the order of `harrier --help`. */
export const commandGroups: readonly CommandGroup[] = [
  {
    heading: 'See it work:',
    commands: [
      start,
      doctor,
      stack,
    ],
  },
  {
    heading: 'Score your stream:',
    commands: [
      topology,
      run,
      serve,
      keys,
      privacy,
      rebuild,
      tail,
      models,
      forget,
    ],
  },
  {
    heading: 'Train and try:',
    commands: [
      simulate,
      features,
      backtest,
    ],
  },
  {
    heading: 'Measure and prove:',
    commands: [
      lineage,
      audit,
      archive,
      bench,
      soak,
    ],
  },
]
