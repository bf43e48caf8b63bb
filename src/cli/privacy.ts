import { Option, type Command } from 'commander'
import { findToken } from '../audit/token-search.js'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { createKeyFile, loadPrivacyKeys, privacyKeysVariable, retireTokenKey, rotateKeys, type PrivacyKeys } from '../privacy/privacy-keys.js'
import { tokenOf } from '../privacy/tokeniser.js'
import { loadTopology } from '../topology/load-topology.js'
import { addEvidenceOptions, openEvidence, type EvidenceOptions } from './evidence-options.js'
import { parseNatural, parseTime } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { terminalProgress } from './terminal-progress.js'

interface ForMachines {
  json?: boolean
}

interface TokenOptions extends PrivacyOptions, ForMachines {
  topology: string
  field: string
}

const help = `
A rotation of the key of tokens, in which every two records that follow each other can be joined:
  harrier privacy create keys.json          version 1 is in force: entity t1_…
  harrier run --privacy-keys keys.json ...
  harrier privacy rotate keys.json          restart: entity t1_…, and customer@2 t2_… beside it
  (readers carry their tables over from t1_… to t2_…)
  harrier privacy retire keys.json          restart: entity t2_…; version 1 still finds its tokens`

/** `harrier privacy create|rotate|retire|show|token|find` */
export function register(program: Command): void {
  const privacy = program.command('privacy').description('keys of tokens and of encrypted dead letters: make, rotate, look up').addHelpText('after', help)
  const machines = (command: Command): Command => command.option('--json', 'for machines')
  machines(privacy.command('create').description('make a file of new keys, which its owner alone may read; it is not written over').argument('<file>')).action((file: string, { json }: ForMachines) => show(createKeyFile(file), json))
  machines(
    privacy
      .command('rotate')
      .description('add the next version: of tokens it is written beside the one that joins, of dead letters it takes over. Processes take it at their next start')
      .argument('<file>')
      .addOption(new Option('--of <what>', 'whose key').choices(['tokens', 'dead-letters']).default('tokens')),
  ).action((file: string, { of, json }: ForMachines & { of: 'tokens' | 'dead-letters' }) => show(rotateKeys(file, of), json))
  machines(privacy.command('retire').description('end the older of two versions of tokens: the newer one joins from then on').argument('<file>')).action((file: string, { json }: ForMachines) => show(retireTokenKey(file), json))
  machines(privacy.command('show').description('versions, ids and states of keys; never the keys').argument('[file]', `default: what ${privacyKeysVariable} names`)).action((file: string | undefined, { json }: ForMachines) =>
    show(needed(loadPrivacyKeys({ file })), json),
  )
  addPrivacyOptions(
    privacy
      .command('token')
      .description('the tokens of a value, under every version of the key')
      .argument('<value>', 'as the records have it')
      .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
      .requiredOption('--field <name>', 'the personal field that has it')
      .option('--json', 'for machines'),
  ).action(token)
  const find = privacy.command('find').description('the value that a token stands for, by looking through the input for one that has it').argument('<token>', 'as a scored event or an alert has it')
  addPrivacyOptions(addEvidenceOptions(find, parseTime, parseNatural)).action(lookUp)
}

function show({ tokens, deadLetters }: PrivacyKeys, json: boolean | undefined): void {
  const rows = [
    ...tokens.map(({ version, id, state }) => ({ of: 'tokens', version, id, state })),
    ...deadLetters.map(({ version, id }, index) => ({ of: 'dead-letters', version, id, state: index === deadLetters.length - 1 ? 'in-force' : 'opens' })),
  ]
  process.stdout.write(json ? `${JSON.stringify(rows)}\n` : rows.map(({ of, version, id, state }) => `${of.padEnd(12)}  ${String(version).padStart(4)}  ${id}  ${state}\n`).join(''))
}

function needed(keys: PrivacyKeys | undefined): PrivacyKeys {
  if (!keys) throw new HarrierError('PRIVACY_KEY_MISSING', 'no file of keys is named')
  return keys
}

function token(value: string, options: TokenOptions): void {
  const domains = new Map(loadTopology(options.topology).chain.flatMap(({ personal }) => [...(personal?.domains ?? [])]))
  const domain = domains.get(options.field)
  const remedy = domains.size === 0 ? 'it has none; mark one with personal: true' : `its personal fields: ${[...domains.keys()].join(', ')}`
  if (domain === undefined) throw new HarrierError('USAGE', `"${options.field}" is no personal field of topology ${options.topology}`, { remedy })
  const made = needed(privacyKeysOf(options)).tokens.map((key) => ({ version: key.version, state: key.state, token: tokenOf(key, domain, value) }))
  process.stdout.write(options.json ? `${JSON.stringify(made)}\n` : made.map((each) => `${each.token}  ${each.state}\n`).join(''))
}

async function lookUp(text: string, options: EvidenceOptions & PrivacyOptions): Promise<void> {
  const keys = needed(privacyKeysOf(options))
  const progress = terminalProgress(process.stderr, systemClock)
  const { log, topology, namespace, close } = await openEvidence(options)
  try {
    const { partition, scanMax } = options
    const onProgress = (scanned: number, of: number): void => progress.onProgress(`${scanned.toLocaleString('en')} of ${of.toLocaleString('en')} records looked at`, 'tick')
    const found = await findToken(log, { topology, namespace, keys, token: text, partition, scanMax, onProgress })
    progress.end()
    process.stdout.write(options.json ? `${JSON.stringify(found)}\n` : `${found.field} ${found.value}\n(${found.topic}/${found.partition} at offset ${found.offset})\n`)
  } finally {
    progress.end()
    await close()
  }
  process.exit(0)
}
