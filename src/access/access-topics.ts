/** Topics of access rights; a namespace prefixes them. */
export interface AccessTopics {
  readonly keys: string
  readonly usage: string
  readonly audit: string
}

export function accessTopics(namespace = ''): AccessTopics {
  const prefix = namespace === '' ? '' : `${namespace}.`
  return { keys: `${prefix}harrier.keys`, usage: `${prefix}harrier.usage`, audit: `${prefix}harrier.audit` }
}

/** Keys and usage keep the newest record of each; the audit keeps everything. Usage of a day is of no use after two. */
export const accessTopicConfigs: Readonly<Record<keyof AccessTopics, Readonly<Record<string, string>>>> = {
  keys: { 'cleanup.policy': 'compact' },
  usage: { 'cleanup.policy': 'compact,delete', 'retention.ms': '172800000' },
  audit: { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' },
}
