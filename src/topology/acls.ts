import { HarrierError } from '../base/errors.js'
import type { TopologyNames } from './names.js'

/** A right on the cluster, in Kafka's words. Read and Write bring Describe, AlterConfigs brings DescribeConfigs. */
export interface Acl {
  readonly for: 'run' | 'release' | 'apply' | 'apply --partitions'
  readonly resource: 'topic' | 'group' | 'transactional-id'
  readonly names: readonly string[]
  readonly pattern: 'literal' | 'prefixed'
  readonly operations: readonly string[]
  readonly why: string
}

/**
 * All that `harrier run`, `harrier models release` and `harrier topology apply` need, each by itself, and nothing more. `stages`: names of
 * each stage. With guardrails an engine may release, too: it rolls back. Tests run with these alone.
 */
export function neededAcls(stages: readonly TopologyNames[], { guardrails = false } = {}): Acl[] {
  const { input, labels, lineage, deadLetters, releaseTopics } = stages[0]!
  const { scored, alerts } = stages.at(-1)!
  const inputs = labels === undefined ? [input] : [input, labels]
  const ends = [scored, alerts, deadLetters]
  const own = [lineage, ...stages.flatMap(({ state, forward }) => (forward === undefined ? [state] : [state, forward]))]
  const between = stages.length === 1 ? '' : ', what stages pass on'
  return [
    { for: 'run', resource: 'topic', names: inputs, pattern: 'literal', operations: ['Read'], why: 'events, and the tail of a restore' },
    { for: 'run', resource: 'topic', names: ends, pattern: 'literal', operations: ['Write'], why: 'outputs' },
    { for: 'run', resource: 'topic', names: own, pattern: 'literal', operations: ['Read', 'Write'], why: `outputs, and restore${between}` },
    ...(guardrails ? [] : [{ for: 'run', resource: 'topic', names: [releaseTopics.models], pattern: 'literal', operations: ['Read'], why: 'which models are released' } as const]),
    { for: 'run', resource: 'group', names: stages.map(({ group }) => group), pattern: 'literal', operations: ['Read'], why: 'membership, and offsets in the transaction' },
    ...stages.map((names): Acl => ({ for: 'run', resource: 'transactional-id', names: [names.instance('')], pattern: 'prefixed', operations: ['Write'], why: 'transactions of every instance, also of one that died' })),
    ...(guardrails ? ['run', 'release'] as const : ['release'] as const).flatMap((command): Acl[] => [
      { for: command, resource: 'topic', names: Object.values(releaseTopics) as string[], pattern: 'literal', operations: ['Read', 'Write'], why: 'the ledger, and what is in force by it' },
      { for: command, resource: 'transactional-id', names: [`${releaseTopics.releases}-`], pattern: 'prefixed', operations: ['Write'], why: 'ledger and models together, one writer of a stage at a time' },
    ]),
    { for: 'release', resource: 'topic', names: [lineage], pattern: 'literal', operations: ['Read'], why: 'where a release came in force' },
    { for: 'apply', resource: 'topic', names: [...ends, ...own, ...(Object.values(releaseTopics) as string[])], pattern: 'literal', operations: ['Create', 'Alter', 'AlterConfigs'], why: 'makes and changes them' },
    { for: 'apply', resource: 'topic', names: inputs, pattern: 'literal', operations: ['Describe', 'DescribeConfigs'], why: 'their partitions' },
    { for: 'apply --partitions', resource: 'topic', names: inputs, pattern: 'literal', operations: ['Create'], why: 'makes those that are missing' },
  ]
}

/** Commands for kafka-acls.sh, a line for each right, under comments that say what for. */
export function aclCommands(stages: readonly TopologyNames[], subjects: readonly string[], principal: string, rules: { guardrails?: boolean } = {}): string {
  if (!/^[A-Za-z]+:[^'\\\n]+$/.test(principal)) throw new HarrierError('USAGE', `"${principal}" is not a principal`, { remedy: 'write for example User:harrier, or User:CN=harrier,O=Bank' })
  const lines: string[] = []
  const commands: Record<Acl['for'], string> = {
    run: 'harrier run',
    release: 'harrier models release',
    apply: 'harrier topology apply',
    'apply --partitions': 'harrier topology apply --partitions, where the input is missing: these too',
  }
  // rollback, canary, shadow and withdraw need what a release needs
  for (const command of ['run', 'release', 'apply', 'apply --partitions'] as const) {
    lines.push(`# ${commands[command]}`)
    for (const acl of neededAcls(stages, rules).filter((each) => each.for === command)) lines.push(commandOf(acl, principal))
    lines.push('')
  }
  lines.push('# Schema registry, in its own words: harrier run reads these subjects, and writes them where schemas.register is on', ...subjects.map((subject) => `#   ${subject}`), '')
  return lines.join('\n')
}

function commandOf({ resource, names, pattern, operations }: Acl, principal: string): string {
  return [
    'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config admin.properties --add',
    `--allow-principal '${principal}'`,
    ...operations.map((operation) => `--operation ${operation}`),
    ...names.map((name) => `--${resource} ${name}`),
    ...(pattern === 'prefixed' ? ['--resource-pattern-type prefixed'] : []),
  ].join(' ')
}
