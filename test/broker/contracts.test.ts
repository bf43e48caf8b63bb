import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import avro from 'avsc'
import { systemClock } from '../../src/base/clock.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { CountingRegistry } from './counting-registry.js'
import { EngineProcess } from './engine-fixture.js'
import { contractFile, contractsFolder, ForeignTopic } from './foreign-topic.js'
import { startTestStack, type TestStack } from './test-stack.js'

const bin = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))

let stack: TestStack
let registry: CountingRegistry
let registryUrl: string
const open: { close(): Promise<void> }[] = []

before(async () => {
  stack = await startTestStack()
  registry = new CountingRegistry(stack.registryUrl)
  registryUrl = await registry.start()
  open.push(registry)
})

after(async () => {
  for (const each of open) await each.close()
  await stack?.stop()
})

async function foreign(topic: string): Promise<ForeignTopic> {
  const made = new ForeignTopic(stack, topic)
  await made.create()
  open.push(made)
  return made
}

function engine(namespace: string, topology: string, instanceId = 'a'): EngineProcess {
  const process = new EngineProcess({ stack: { brokers: stack.brokers, registryUrl }, namespace, instanceId, topology })
  open.push({ close: async () => void (await process.kill()) })
  return process
}

const example = (name: string): string => join(contractsFolder, `${name}.yaml`)

/** An example with things changed, in a folder with the schemas of the examples. */
function changed(name: string, ...changes: [string | RegExp, string][]): string {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-contracts-'))
  for (const file of readdirSync(contractsFolder)) writeFileSync(join(folder, file), readFileSync(join(contractsFolder, file)))
  let text = readFileSync(example(name), 'utf8')
  for (const [from, to] of changes) {
    assert.notEqual(text.replace(from, to), text, `the example holds ${String(from)}`)
    text = text.replace(from, to)
  }
  const file = join(folder, `${name}.yaml`)
  writeFileSync(file, text)
  return file
}

/** What `harrier run` says as it refuses to start. */
async function refusal(namespace: string, topology: string): Promise<string> {
  const process = engine(namespace, topology)
  const code = await process.exited
  const said = process.log.join('\n')
  assert.ok(code === 1 || code === 2, `it ends with ${code}: ${said}`)
  return said
}

const transfer = contractFile('credit-transfer.avsc')
const transferType = avro.Type.forSchema(transfer as avro.Schema, { wrapUnions: 'always' })
const ns = 'ch.bank.iso20022.pacs008'
const startMs = Date.UTC(2024, 2, 4, 9, 0, 0)
const uetr = (i: number): string => `eb6305c9-1f7f-49de-aed0-16487c27b4${String(i % 100).padStart(2, '0')}`

function decimal(unscaled: bigint, size = 8): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeBigInt64BE(unscaled, size - 8)
  return bytes
}

/** Transfer i: odd ones from an IBAN, even ones from another account; 100 + i units of currency. */
function transferOf(i: number, cents = 10_000n + BigInt(i)): Record<string, unknown> {
  const party = (id: unknown): object => ({ Nm: { string: 'Müller AG' }, Id: id })
  const account = i % 2 === 1 ? { [`${ns}.IbanAccount`]: { Id: `CH93-${i % 5}`, CtryOfBk: 'CH' } } : { [`${ns}.OtherAccount`]: { SchmeNm: null, Id: `A-${i % 5}` } }
  return {
    GrpHdr: { MsgId: `M${i}`, CreDtTm: (startMs + i * 60_000) * 1000 + 999, NbOfTxs: 1, SttlmMtd: 'CLRG' },
    CdtTrfTxInf: [
      {
        PmtId: { InstrId: null, EndToEndId: 'NOTPROVIDED', UETR: uetr(i) },
        IntrBkSttlmAmt: { Value: decimal(cents * 1000n), Ccy: 'EUR' },
        IntrBkSttlmDt: 19_786,
        AccptncDtTm: i % 3 === 0 ? null : { long: (startMs + i) * 1000 },
        ChrgBr: 'SHAR',
        Chrgs: i % 2 === 0 ? null : { [`${ns}.ChargeAmount`]: decimal(-25n) },
        Dbtr: party(i % 2 === 0 ? { [`${ns}.Person`]: { BirthDt: -3000, CityOfBirth: 'Chur' } } : { [`${ns}.Organisation`]: { AnyBIC: 'RAIFCH22' } }),
        DbtrAcct: account,
        CdtrAgt: 'UBSWCHZH',
        Cdtr: party(null),
        CdtrAcct: { [`${ns}.IbanAccount`]: { Id: 'DE00', CtryOfBk: 'DE' } },
        RmtInf: i % 2 === 0 ? [] : ['invoice 7', 'of May'],
      },
    ],
    SplmtryData: i % 4 === 0 ? { channel: 'e-banking' } : {},
  }
}

const sequence = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

describe('foreign contracts, by configuration alone', () => {
  it('scores nested ISO 20022 payments through a change of schema, a schema that was unknown, and a kill', async () => {
    const topic = await foreign('iso.payments.pacs008')
    const first = await topic.register('iso.payments.pacs008-value', transfer)
    const record = (i: number, type = transferType, more: object = {}): { key: string; body: Buffer; headers: Record<string, string> } => ({
      key: `k${i % 5}`,
      body: type.toBuffer({ ...transferOf(i), ...more }),
      headers: { ce_specversion: '1.0', ce_id: `ce-${i}`, ce_type: 'bank.transfer.accepted', ce_source: '/hub', ce_dataschema: 'x', 'content-type': 'avro/binary', traceparent: `00-${i}-01` },
    })
    await topic.send(first, sequence(0, 40).map((i) => record(i)))
    // No checkpoint comes between: the restore folds all of it again.
    const file = changed('credit-transfers', ['checkpointIntervalMs: 1s', 'checkpointIntervalMs: 10m'])
    const running = engine('iso', file)
    await running.until('40 transfers scored', () => running.stats?.counters.scored === 40)

    // The writer's next version: a new field, another order, an enum that grew.
    const next = JSON.parse(JSON.stringify(transfer).replace('["INDA","INGA","COVE","CLRG"]', '["INDA","INGA","COVE","CLRG","TARGET"]')) as { fields: { name: string }[] }
    next.fields = [next.fields[1]!, { name: 'Priority', type: ['null', 'string'], default: null } as never, next.fields[0]!, next.fields[2]!]
    const nextType = avro.Type.forSchema(next as avro.Schema, { wrapUnions: 'always' })
    const second = await topic.register('iso.payments.pacs008-value', next)
    assert.notEqual(second, first)
    for (const from of [40, 50, 60]) {
      // Old and new writers, mixed.
      await topic.send(second, sequence(from, from + 5).map((i) => record(i, nextType, { Priority: { string: 'HIGH' } })))
      await topic.send(first, sequence(from + 5, from + 10).map((i) => record(i)))
    }
    await running.until('70 transfers scored', () => running.stats?.counters.scored === 70)
    assert.equal(registry.count(`GET /schemas/ids/${first}`), 1)
    assert.equal(registry.count(`GET /schemas/ids/${second}`), 1, 'the new schema was fetched once')

    // Dead letters now: a schema that nobody has registered yet, two transfers in one message, a tenth of a cent.
    await topic.send(second + 1, [record(70, nextType, { Priority: null })])
    await topic.send(first, [{ ...record(71), body: transferType.toBuffer({ ...transferOf(71), CdtTrfTxInf: [...(transferOf(71)['CdtTrfTxInf'] as object[]), ...(transferOf(72)['CdtTrfTxInf'] as object[])] }) }])
    const tenth = transferOf(72)
    ;(tenth['CdtTrfTxInf'] as { IntrBkSttlmAmt: { Value: Buffer } }[])[0]!.IntrBkSttlmAmt.Value = decimal(100_00100n)
    await topic.send(first, [{ ...record(72), body: transferType.toBuffer(tenth) }, record(73)])
    await running.until('three dead letters', () => running.stats?.counters.deadLetters === 3 && running.stats.counters.scored === 71)
    await running.kill()
    const third = await topic.register('iso.later-value', { ...next, doc: 'reads what the record of the unknown schema holds' })
    assert.equal(third, second + 1, 'the id that was unknown is known now')

    const again = engine('iso', file, 'b')
    await topic.send(second, [record(74, nextType, { Priority: null })])
    await again.until('it restores and scores on', () => again.stats?.counters.scored === 1)
    assert.ok(again.stats!.counters.restoredRecords >= 74, `${again.stats!.counters.restoredRecords} records were folded again, those of the unknown schema among them`)
    await again.interrupt()

    const scored = await topic.read('iso.credit-transfers.scored')
    assert.deepEqual(scored.map(({ value }) => value.event_id), [...sequence(0, 70), 73, 74].map(uetr))
    const [person, organisation] = [scored[4]!.value, scored[5]!.value]
    assert.deepEqual([person.entity, person.event_time], ['A-4', new Date(startMs + 4 * 60_000).toISOString()])
    assert.deepEqual(person.attributes, { amount: 10_004, currency: 'EUR', accepted: startMs + 4, settled: Date.UTC(2024, 2, 4), city: 'Chur', channel: 'e-banking' })
    assert.equal(organisation.entity, 'CH93-0')
    assert.deepEqual(organisation.attributes, { amount: 10_005, currency: 'EUR', charges: -25, accepted: startMs + 5, settled: Date.UTC(2024, 2, 4), reference: 'invoice 7', channel: 'branch' })
    assert.deepEqual(scored[41]!.headers, { ce_specversion: '1.0', ce_id: 'ce-41', ce_type: 'bank.transfer.accepted', ce_source: '/hub', traceparent: '00-41-01' })
    const dead = (await topic.read('iso.credit-transfers.dlq')).map(({ headers }) => headers['__streams.errors.message'])
    assert.match(dead[0]!, new RegExp(`unknown schema id: ${second + 1}`))
    assert.match(dead[1]!, /CdtTrfTxInf\[only\].*has more than one item/)
    assert.match(dead[2]!, /field amount .* has more decimals than the declared scale keeps/)
  })

  it('scores flat card authorisations under record subjects, with everything registered by hand', async () => {
    const topic = await foreign('flat.switch.authorisations')
    const schema = contractFile('card-authorisation.avsc')
    const id = await topic.register('flat.com.acquirer.switch.CardAuthorisation', schema)
    const refused = await refusal('flat', example('card-authorisations'))
    assert.match(refused, /subject flat\.card-authorisations\.scored-harrier\.ScoredEvent is not in the registry/)
    assert.match(refused, /harrier topology schemas/)

    const out = mkdtempSync(join(tmpdir(), 'harrier-schemas-'))
    const { stdout } = await promisify(execFile)(process.execPath, [bin, 'topology', 'schemas', example('card-authorisations'), '--namespace', 'flat', '--out', out])
    for (const [, command] of stdout.matchAll(/^ {2}(curl .*)$/gm)) await promisify(execFile)('sh', ['-c', `${command!} --fail -s`], { env: { ...process.env, REGISTRY: stack.registryUrl } })
    registry.calls.length = 0
    const running = engine('flat', example('card-authorisations'))
    const type = avro.Type.forSchema(schema as avro.Schema)
    const authRef = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    const card = { authRef, txnEpochSec: 1_709_542_800, panToken: 'tok-1', txnAmt: '129.90', ccyNum: 756, mcc: 5411, cardPresent: false, deviceId: null }
    await topic.send(id, [{ key: 'tok-1', body: type.toBuffer(card) }, { key: 'tok-1', body: type.toBuffer({ ...card, txnAmt: '12,50' }) }])
    await running.until('one scored, one dead letter', () => running.stats?.counters.scored === 1 && running.stats.counters.deadLetters === 1)
    await running.interrupt()
    const [scored] = await topic.read('flat.card-authorisations.scored')
    assert.deepEqual([scored!.value.event_id, scored!.value.event_time], ['00112233-4455-6677-8899-aabbccddeeff', '2024-03-04T09:00:00.000Z'])
    assert.deepEqual(scored!.value.attributes, { amount: 12_990, currency: '756', mcc: 5411, present: 0 })
    assert.deepEqual(registry.calls.filter((call) => call.startsWith('POST') && call.endsWith('/versions')), [], 'nothing was registered')
  })

  it('scores JSON behind a JSON Schema, and holds the wanted fields to it', async () => {
    const topic = await foreign('json.wallet.payments')
    const id = await topic.register('json.wallet.payments-value', contractFile('wallet-payment.schema.json'), 'JSON')
    const running = engine('json', example('wallet-payments'))
    const payment = { id: 'p-1', createdAt: '2024-03-04T10:00:00.5+01:00', wallet: { owner: 'w1' }, total: { value: 12.34, currency: 'EUR' }, kind: 'p2p', items: [{ sku: 's-1' }] }
    const send = [payment, { ...payment, id: 'p-2', kind: undefined, items: [] }, { ...payment, total: { value: 0, currency: 'EUR' } }, { ...payment, kind: 'gift' }, { ...payment, total: { currency: 'EUR' } }]
    await topic.send(id, send.map((value) => ({ key: 'w1', body: Buffer.from(JSON.stringify(value)) })))
    await running.until('two scored, three dead letters', () => running.stats?.counters.scored === 2 && running.stats.counters.deadLetters === 3)
    await running.interrupt()
    const scored = await topic.read('json.wallet-payments.scored')
    assert.deepEqual(scored.map(({ value }) => [value.event_time, value.attributes]), [
      ['2024-03-04T09:00:00.500Z', { amount: 1234, kind: 'p2p', first_item: 's-1' }],
      ['2024-03-04T09:00:00.500Z', { amount: 1234, kind: 'shop' }],
    ])
    const dead = (await topic.read('json.wallet-payments.dlq')).map(({ headers }) => headers['__streams.errors.message'])
    assert.match(dead[0]!, /field amount \(total\.value\): is below its minimum: 0 < 1/)
    assert.match(dead[1]!, /field kind: is none of the values that its schema allows/)
    assert.match(dead[2]!, /field amount \(total\.value\): is missing/)
  })

  it('reads types that the schema takes from other subjects', async () => {
    const topic = await foreign('ref.payments.pacs008')
    // The account types of the same contract, in a subject of their own.
    const iban = { type: 'record', name: 'IbanAccount', namespace: ns, fields: [{ name: 'Id', type: 'string' }, { name: 'CtryOfBk', type: 'string' }] }
    await topic.register('ref.accounts', iban)
    const text = JSON.stringify(transfer).replace(/\{"type":"record","name":"IbanAccount","fields":\[.*?\]\}/, '"IbanAccount"')
    assert.notEqual(text, JSON.stringify(transfer))
    const id = await topic.register('ref.payments.pacs008-value', text, 'AVRO', [{ name: `${ns}.IbanAccount`, subject: 'ref.accounts', version: 1 }])
    const running = engine('ref', example('credit-transfers'))
    await topic.send(id, [{ key: 'k', body: transferType.toBuffer(transferOf(1)) }])
    await running.until('it is scored', () => running.stats?.counters.scored === 1)
    await running.interrupt()
  })

  it('refuses at start what the newest schema of the input cannot give, with file, line, what was found and what to write', async () => {
    const topic = await foreign('bad.payments.pacs008')
    await topic.register('bad.payments.pacs008-value', transfer)
    const misnamed: [string, string][] = [['IntrBkSttlmAmt.Value', 'IntrBkSttlmAmt.Amount'], ['PmtId.UETR', 'PmtId.Uetr']]
    const file = changed('credit-transfers', ...misnamed, ['GrpHdr.CreDtTm, type: timestamp-micros', 'GrpHdr.CreDtTm, type: iso8601'], ['SplmtryData.channel, type: text, default: branch', 'GrpHdr.MsgId, type: integer'])
    const said = await refusal('bad', file)
    const line = (path: string): RegExp => new RegExp(`credit-transfers\\.yaml:\\d+  source\\.fields\\.${path}\\.path: subject bad\\.payments\\.pacs008-value version 1 \\(schema id \\d+\\): `)
    for (const field of ['amount', 'event_id', 'event_time', 'channel']) assert.match(said, line(field))
    assert.match(said, /no field CdtTrfTxInf\[only\]\.PmtId\.Uetr: .* holds InstrId, EndToEndId, UETR; write path: CdtTrfTxInf\[only\]\.PmtId\.UETR/)
    assert.match(said, /no field CdtTrfTxInf\[only\]\.IntrBkSttlmAmt\.Amount: .* holds Value, Ccy/)
    assert.match(said, /GrpHdr\.CreDtTm is long \(timestamp-micros\), which type iso8601 cannot read; write type: timestamp-micros/)
    assert.match(said, /GrpHdr\.MsgId is string, which type integer cannot read/)
    const check = promisify(execFile)(process.execPath, [bin, 'topology', 'check', file, '--contracts', '--namespace', 'bad', '--brokers', stack.brokers, '--registry', registryUrl])
    await assert.rejects(check, (error: { stderr: string }) => line('amount').test(error.stderr), 'the same is said without running')
    assert.deepEqual(registry.calls.filter((call) => call.startsWith('POST /subjects/bad.')), [], 'and nothing was registered')
  })

  it('refuses Protobuf, and a format that the subject does not have', async () => {
    const proto = await foreign('proto.payments.pacs008')
    await proto.register('proto.payments.pacs008-value', 'syntax = "proto3"; message Payment { string id = 1; }', 'PROTOBUF')
    assert.match(await refusal('proto', example('credit-transfers')), /version 1 .* is of type PROTOBUF; Harrier reads Avro, JSON Schema and plain JSON, not Protobuf/)
    const json = await foreign('asjson.payments.pacs008')
    await json.register('asjson.payments.pacs008-value', contractFile('wallet-payment.schema.json'), 'JSON')
    assert.match(await refusal('asjson', example('credit-transfers')), /is of type JSON; write format: json-schema/)
  })

  it('refuses to write what readers of the registered schema could not read, by the field', async () => {
    const topic = await foreign('breach.payments.pacs008')
    await topic.register('breach.payments.pacs008-value', transfer)
    const scored = loadOwnSchema('scored-event') as { fields: { name: string; type: unknown }[] }
    const other = { ...scored, fields: scored.fields.map((field) => (field.name === 'score' ? { ...field, type: 'string' } : field)).concat({ name: 'branch', type: 'string' }) }
    const client = new RegistryClient(stack.registryUrl, { clock: systemClock })
    await client.register('breach.credit-transfers.scored-value', other)
    const said = await refusal('breach', example('credit-transfers'))
    assert.match(said, /schemas\/scored-event\.avsc breaks version 1 .* of subject breach\.credit-transfers\.scored-value/)
    assert.match(said, /field score: the new schema cannot read what the registered one wrote: string is not float/)
    assert.match(said, /field branch: consumers with the registered schema cannot read the new one: the field is missing and has no default/)
  })
})
