import kafkajs, { type AclEntry, type AclOperationTypes, type AclResourceTypes, type Kafka } from 'kafkajs'

const { AclOperationTypes: operations, AclPermissionTypes: permissions, AclResourceTypes: resources, ResourcePatternTypes: patterns } = kafkajs

const resourceOf: Readonly<Record<string, AclResourceTypes>> = { topic: resources.TOPIC, group: resources.GROUP, 'transactional-id': resources.TRANSACTIONAL_ID }

/** The rights in lines for kafka-acls.sh, as that program would read them. Lines that it could not read are an error. */
export function parseAclCommand(line: string): AclEntry[] {
  const words = [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, single, double, plain]) => single ?? double ?? plain!)
  if (words.shift() !== 'kafka-acls.sh') throw new Error(`no command for kafka-acls.sh: ${line}`)
  const principals: string[] = []
  const named: { resourceType: AclResourceTypes; resourceName: string }[] = []
  const allowed: AclOperationTypes[] = []
  let pattern = patterns.LITERAL
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!.replace(/^--/, '')
    if (word === 'add') continue
    const value = words[++i]
    if (value === undefined) throw new Error(`--${word} without a value: ${line}`)
    if (word === 'bootstrap-server' || word === 'command-config') continue
    if (word === 'allow-principal') principals.push(value)
    else if (word === 'operation') allowed.push(operations[value.replace(/(?!^)([A-Z])/g, '_$1').toUpperCase() as keyof typeof operations])
    else if (word === 'resource-pattern-type' && value === 'prefixed') pattern = patterns.PREFIXED
    else if (word in resourceOf) named.push({ resourceType: resourceOf[word]!, resourceName: value })
    else throw new Error(`--${word} is not known: ${line}`)
  }
  if (allowed.includes(undefined as unknown as AclOperationTypes)) throw new Error(`an operation is not known: ${line}`)
  return principals.flatMap((principal) =>
    named.flatMap(({ resourceType, resourceName }) =>
      allowed.map((operation) => ({ resourceType, resourceName, resourcePatternType: pattern, principal, host: '*', operation, permissionType: permissions.ALLOW })),
    ),
  )
}

/** Lines under `# harrier run` or `# harrier topology apply`. */
export function aclLines(text: string, command: string): string[] {
  const section = text.split('\n\n').find((each) => each.startsWith(`# ${command}\n`)) ?? ''
  return section.split('\n').slice(1)
}

export async function grant(kafka: Kafka, lines: readonly string[]): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createAcls({ acl: lines.flatMap(parseAclCommand) })
  await admin.disconnect()
}

export async function revoke(kafka: Kafka, lines: readonly string[]): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.deleteAcls({ filters: lines.flatMap(parseAclCommand) })
  await admin.disconnect()
}
