import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordColumns } from '../../src/base/record-columns.js'
import { silentLogger } from '../../src/base/logger.js'
import { markOf, marksOf } from '../../src/codec/personal-marks.js'
import type { RegistryClient } from '../../src/codec/registry-client.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { openedLetter } from '../../src/consumer/dead-letter.js'
import { createKeyFile, loadPrivacyKeys, retireTokenKey, rotateKeys, type PrivacyKeys } from '../../src/privacy/privacy-keys.js'
import { isToken } from '../../src/privacy/token-text.js'
import { tokenOf } from '../../src/privacy/tokeniser.js'
import { changeTopology } from '../../src/topology/change-topology.js'
import { inspectContracts } from '../../src/topology/contracts.js'
import { parseTopology, TopologyError, type Topology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'
import { RecordMask } from '../../src/topology/record-mask.js'
import { TopologyTestDriver, type TestOutput, type TestOutputs, type TestRecord } from '../../src/topology/test-driver.js'
import { gruStep, rowModel, TestStore, windowDense } from '../inference/test-models.js'
import { card, cardRecord, dayMs, startMs } from './card-events.js'
import { daysTopology, file as topologyFile } from './day-topologies.js'

interface Scored {
  readonly event_id: string
  readonly entity: string
  readonly score: number
  readonly decision: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly explanation: { readonly reasons: readonly { readonly text: string }[] } | null
}

const valueOf = ({ value }: TestOutput): Scored => value as Scored

/** One stage by customer, whose terminal and age are personal, too. `personal` and `privacy` as they stand in the file. */
function personalTopology({ personal = ', personal: true', extra = '', privacy = '', schema = '../schemas/transaction.avsc', attributes = '[amount, customer, terminal, minutes]' } = {}): Topology {
  return parseTopology(
    `
name: personal
source:
  topic: transactions
  format: avro
  schema: ${schema}
  fields:
    event_id: { path: transaction_id, type: text }
    event_time: { path: event_time, type: timestamp-millis }
    customer: { path: customer_id, type: text${personal} }
    terminal: { path: terminal_id, type: text${personal === '' ? '' : ', personal: place'} }
    amount: { path: amount_minor, type: integer, min: 1${personal === '' ? '' : ', personal: false'} }
    minutes: { path: amount_minor, type: integer, min: -5000${personal} }
${extra}
stages:
  customer:
    key: customer
    ttl: 30d
    ring: 4
    features:
      - { name: f0, kind: value, field: amount, scale: 0.001 }
      - { name: f1, kind: log1p, field: minutes }
      - { name: f2, kind: count, window: 1d }
      - { name: f3, kind: hourSin }
      - { name: f4, kind: weekend }
    models: { champion: gru@1 }
    policy: { decline: 0.9, review: 0, attributes: ${attributes} }
${privacy}
`,
    topologyFile,
  )
}

const store = new TestStore()
let folder: string
let file: string
let first: PrivacyKeys
before(() => {
  store.add('gru', gruStep())
  store.add('row', rowModel())
  store.add('window', windowDense())
  folder = mkdtempSync(join(tmpdir(), 'harrier-personal-'))
  file = join(folder, 'keys.json')
  first = createKeyFile(file)
})
after(() => {
  store.remove()
  rmSync(folder, { recursive: true })
})

const events = (from: number, count: number): TestRecord[] =>
  Array.from({ length: count }, (_, i) => cardRecord(card(from + i, `customer-${(from + i) % 3}`, startMs + (from + i) * 60_000, { terminal_id: '777', amount_minor: 4321 }), { headers: { traceparent: '00-a', ce_subject: 'customer', 'x-name': 'Anna' } }))

async function withDriver<T>(topology: Topology, keys: PrivacyKeys | undefined, work: (driver: TopologyTestDriver) => Promise<T>): Promise<T> {
  const driver = await TopologyTestDriver.open({ topology, models: store.root, partitions: 4, startMs, ...(keys ? { privacyKeys: keys } : {}) })
  try {
    return await work(driver)
  } finally {
    await driver.close()
  }
}

const pipe = (topology: Topology, keys: PrivacyKeys | undefined, records = events(0, 12)): Promise<TestOutputs> => withDriver(topology, keys, (driver) => driver.pipe(records))

describe('personal fields', () => {
  it('are tokens in scored events and alerts, in the partition of before, with the scores of before', async () => {
    const [plain, hidden] = [await pipe(personalTopology({ personal: '' }), undefined), await pipe(personalTopology(), first)]
    const [key] = first.tokens
    for (const [i, output] of hidden.scored.entries()) {
      const [was, is] = [valueOf(plain.scored[i]!), valueOf(output)]
      assert.deepEqual([is.event_id, is.score, is.decision], [was.event_id, was.score, was.decision])
      assert.equal(is.entity, tokenOf(key!, 'customer', was.entity))
      assert.equal(output.key!.toString(), is.entity)
      assert.equal(output.partition, plain.scored[i]!.partition)
      assert.deepEqual({ ...is.attributes }, { amount: 4321, customer: is.entity, terminal: tokenOf(key!, 'place', '777'), minutes: tokenOf(key!, 'minutes', '4321') })
      assert.deepEqual(Object.keys(output.headers), ['traceparent'])
    }
    assert.equal(hidden.alerts.length, 12)
    assert.deepEqual(hidden.alerts.map((alert) => valueOf(alert).entity), hidden.scored.map((scored) => valueOf(scored).entity))
    assert.ok(new Set(hidden.scored.map(({ partition }) => partition)).size > 1)
    for (const { bytes, key: recordKey } of [...hidden.scored, ...hidden.alerts]) assert.ok(!bytes!.includes('customer-') && !recordKey!.includes('customer-') && !bytes!.includes('777'))
    // f1 tells of a personal field, f0 does not
    const texts = hidden.alerts.flatMap((alert) => valueOf(alert).explanation?.reasons.map(({ text }) => text) ?? [])
    assert.ok(texts.includes('f1 •••'), texts.join())
    assert.ok(texts.every((text) => !text.startsWith('f1 ') || text === 'f1 •••'), texts.join())
    assert.deepEqual(hidden.lineage[0]!.value.tokens, [{ version: 1, id: key!.id }])
    assert.deepEqual(plain.lineage[0]!.value.tokens, [])
    assert.deepEqual((await pipe(personalTopology(), first)).scored, hidden.scored, 'the same keys give the same bytes')
  })

  it('need keys, and no other state generation', async () => {
    await assert.rejects(pipe(personalTopology(), undefined), /writes tokens of customer, terminal, minutes, and no keys are at hand/)
    assert.equal(personalTopology().digests.layout, personalTopology({ personal: '' }).digests.layout)
    const clear = await pipe(personalTopology({ privacy: 'privacy: { outputs: clear }' }), undefined)
    assert.equal(valueOf(clear.scored[0]!).entity, 'customer-0')
  })

  it('keep their joins over a rotation, and a restart with keys that join nothing is refused', async () => {
    const topology = personalTopology()
    const both = rotateKeys(file, 'tokens')
    const second = retireTokenKey(file)
    assert.deepEqual(loadPrivacyKeys({ file })!.tokens.map(({ state }) => state), ['retired', 'in-force'])
    let driver = await TopologyTestDriver.open({ topology, models: store.root, partitions: 4, startMs, privacyKeys: first })
    const steps: Scored[][] = []
    const partitions: number[][] = []
    for (const [step, keys] of [first, both, second].entries()) {
      if (step > 0) {
        const next = await driver.restart({ privacyKeys: keys })
        await driver.close()
        driver = next
      }
      const { scored } = await driver.pipe(events(step * 12, 12))
      steps.push(scored.map(valueOf))
      partitions.push(scored.map(({ partition }) => partition))
    }
    assert.deepEqual(partitions[1], partitions[0])
    assert.deepEqual(partitions[2], partitions[0])
    const names = ({ entity, attributes }: Scored): string[] => [entity, ...(attributes['customer@2'] === undefined ? [] : [String(attributes['customer@2'])])]
    for (const [i] of steps[0]!.entries()) {
      const [one, two, three] = steps.map((events) => names(events[i]!))
      assert.deepEqual([one!.length, two!.length, three!.length], [1, 2, 1])
      assert.deepEqual([two![0], two![1]], [one![0], three![0]])
      assert.ok(isToken(String(steps[1]![i]!.attributes['terminal@2'])) && isToken(String(steps[1]![i]!.attributes['minutes@2'])))
    }
    await assert.rejects(driver.restart({ privacyKeys: first }), /nothing would join them/)
    const stranger = createKeyFile(join(folder, 'other.json'))
    const renamed = { ...stranger, tokens: stranger.tokens.map((each) => ({ ...each, version: 2 })) }
    await assert.rejects(driver.restart({ privacyKeys: renamed }), /key 2 of tokens is .* here and was/)
    await driver.close()
  })

  it('go through to a later stage as they are, since its state is found by them, and are tokens at the end', async () => {
    const topology = changeTopology('card-terminal', ['source.fields.customer.personal=true', 'stages.terminal.policy.attributes=[customer, amount]'])
    const driver = await TopologyTestDriver.open({ topology, startMs, privacyKeys: first })
    const { scored, forwarded, lineage } = await driver.pipe(events(0, 3)).finally(() => driver.close())
    const token = tokenOf(first.tokens[0]!, 'customer', 'customer-1')
    assert.deepEqual([scored.length, scored[1]!.key!.toString(), valueOf(scored[1]!).entity, valueOf(scored[1]!).attributes['customer']], [3, '777', '777', token])
    assert.ok(forwarded[1]!.bytes!.includes('customer-1'))
    assert.deepEqual(lineage.map(({ value }) => [value.task, value.tokens.length]), [['card-terminal/customer/0', 0], ['card-terminal/terminal/0', 1]])
    const shown = new RecordMask(topology).record(forwarded[1]!.topic, { key: '777', headers: [], decoded: { encoding: 'avro', value: forwarded[1]!.value } })
    assert.deepEqual([shown.key, (shown.decoded.value as { customer: string }).customer], ['777', '•••-1'])
  })

  it('stand in no id of a day that turned', async () => {
    const records = [0, 1, 2, 3].map((day) => cardRecord(card(day, 'anna', startMs + day * dayMs)))
    const { scored } = await withDriver(daysTopology({ personal: true }), first, (driver) => driver.pipe(records))
    const token = tokenOf(first.tokens[0]!, 'customer', 'anna')
    assert.ok(scored.length >= 2)
    for (const output of scored) assert.match(valueOf(output).event_id, new RegExp(`^${token}@2024-01-0\\d$`))
  })

  it('are marked by a schema, which a topology cannot take back; each problem has its line', () => {
    const transaction = loadOwnSchema('transaction') as { fields: { name: string }[] }
    const schema = join(folder, 'marked.avsc')
    writeFileSync(schema, JSON.stringify({ ...transaction, fields: transaction.fields.map((field) => (field.name === 'customer_id' ? { ...field, personal: 'person' } : field.name === 'terminal_id' ? { ...field, 'confluent:tags': ['PII'] } : field)) }))
    const marked = personalTopology({ personal: '', schema })
    assert.deepEqual([...marked.personal!.domains], [['customer', 'person'], ['terminal', 'terminal']])
    const problem = (options: Parameters<typeof personalTopology>[0]): string => {
      try {
        personalTopology(options)
      } catch (error) {
        return error instanceof TopologyError ? error.message : String(error)
      }
      return ''
    }
    assert.match(problem({ personal: ', personal: false', schema }), /days\.yaml:10 {2}source\.fields\.customer\.personal: .*marks customer_id as personal/)
    assert.match(problem({ extra: '    day: { path: event_time, type: timestamp-millis, personal: true }', attributes: '[day]' }), /stages\.customer\.policy\.attributes\[0\]: "day" is personal and timestamp-millis/)
    const nested = { type: 'object', properties: { debtor: { $ref: '#/$defs/party' }, legs: { type: 'array', items: { $ref: '#/$defs/party' } } }, $defs: { party: { properties: { iban: { personal: true }, city: {} } } } }
    const marks = marksOf(nested, 'json')
    assert.deepEqual(['debtor.iban', 'debtor.city', 'legs[0].iban', 'legs[only].city'].map((path) => markOf(marks, path) !== undefined), [true, false, true, false])
  })

  it('are refused at the start where only the registry marks them', async () => {
    const schema = loadOwnSchema('transaction') as { fields: { name: string }[] }
    const marked = { ...schema, fields: schema.fields.map((field) => (field.name === 'customer_id' ? { ...field, personal: true } : field)) }
    const latest = { subject: 'transactions-value', version: 4, id: 9, type: 'AVRO', schema: marked }
    const registry = { latest: (subject: string) => Promise.resolve(subject === latest.subject ? latest : undefined) } as unknown as RegistryClient
    const inspect = (topology: Topology): Promise<string[]> => inspectContracts({ topology, names: topologyNames(topology), registry, logger: silentLogger })
    await assert.rejects(inspect(personalTopology({ personal: '' })), /days\.yaml:10 {2}source\.fields\.customer\.path: .*version 4 \(schema id 9\): marks customer_id as personal; write personal: true/)
    assert.match((await inspect(personalTopology()))[0]!, /gives all 6 fields/)
  })

  it('are masked for people wherever they stand, on every topic', () => {
    const topology = personalTopology({ privacy: 'privacy: { outputs: clear }' })
    const mask = new RecordMask(topology)
    const headers = [{ name: 'traceparent', value: '00-a' }, { name: 'x-name', value: 'Anna' }]
    const shown = (topic: string, value: unknown, encoding: 'avro' | 'text' = 'avro') => mask.record(topic, { key: 'customer-0', headers, decoded: { encoding, value } })
    const input = shown('transactions', { customer_id: 'customer-0', terminal_id: '777', amount_minor: 5, currency: 'EUR' })
    assert.deepEqual(input.decoded.value, { customer_id: '•••-0', terminal_id: '•••', amount_minor: '•••', currency: 'EUR' })
    assert.deepEqual([input.key, ...input.headers.map(({ value }) => value)], ['•••-0', '00-a', '•••'])
    const scored = shown('personal.scored', { event_id: 'customer-0@2024-01-01', entity: 'customer-0', attributes: { customer: 'customer-0', amount: 5 }, reasons: [] }).decoded.value as Scored
    assert.deepEqual([scored.event_id, scored.entity, scored.attributes], ['•••-0@2024-01-01', '•••-0', { customer: '•••-0', amount: 5 }])
    assert.deepEqual(shown('personal.dlq', { custmer: 'customer-0', n: [1] }).decoded.value, { custmer: '(string)', n: ['(number)'] })
    assert.equal(shown('personal.dlq', 'customer-0 said', 'text').decoded.value, '•••')
    const foreign = { encoding: 'avro' as const, value: { name: 'Anna', n: 1 }, personal: [['name']] }
    assert.deepEqual(mask.record('elsewhere', { key: 'k', headers, decoded: foreign }).decoded.value, { name: '•••', n: 1 })
    assert.equal(new RecordMask(personalTopology({ personal: '' })).hides, false)
  })
})

describe('dead letters that are encrypted', () => {
  it('tell their cause and no value, and open to the record, to the byte', async () => {
    const topology = personalTopology({ personal: '', privacy: 'privacy: { deadLetters: encrypted }' })
    const bad = [cardRecord(card(1, 'anna', startMs, { amount_minor: -4711 }), { partition: 1, headers: { 'harrier-request': 'abc', name: 'Anna', empty: null } }), { key: 'bert', value: Buffer.from('broken'), partition: 1 }]
    const { deadLetters } = await pipe(topology, first, bad)
    assert.equal(deadLetters.length, 2)
    for (const [i, letter] of deadLetters.entries()) {
      const columns = new RecordColumns(1)
      columns.append(0, letter.partition, 0, letter.timestampMs, letter.key, letter.bytes)
      for (const [name, value] of Object.entries(letter.headers)) columns.appendHeader(name, value)
      const text = `${letter.bytes!.toString('latin1')}${Object.values(letter.headers).join()}`
      assert.ok(letter.key === null && !/4711|Anna|bert|broken/.test(text), text)
      assert.equal(letter.headers['__streams.errors.exception']!.toString(), i === 0 ? 'RECORD_INVALID' : 'RECORD_UNDECODABLE')
      const opened = openedLetter(columns, 0, first.deadLetters)
      assert.equal(Buffer.from(opened.key(0)!).toString(), i === 0 ? 'anna' : 'bert')
      if (i === 1) assert.equal(Buffer.from(opened.value(0)!).toString(), 'broken')
      else assert.deepEqual(opened.headers(0).map(({ name, value }) => [name, value?.toString()]), [['harrier-request', 'abc'], ['name', 'Anna'], ['empty', undefined]])
      assert.throws(() => openedLetter(columns, 0, []), /encrypted under key 1, and no key/)
    }
    assert.equal(deadLetters[0]!.headers['harrier-request']!.toString(), 'abc')
    assert.match(deadLetters[0]!.headers['__streams.errors.message']!.toString(), /field amount \(amount_minor\): is below its minimum$/)
  })
})
