// Plays the other team: registers credit-transfer.avsc for its topic and writes some transfers, with the libraries that
// such a team might use. node docs/examples/contracts/send-transfers.js <brokers> <registry URL> <topic> [count]
import { readFileSync } from 'node:fs'
import avro from 'avsc'
import { Kafka, logLevel } from 'kafkajs'

const [brokers, registry, topic, count = '20'] = process.argv.slice(2)
if (!topic) throw new Error('usage: send-transfers.js <brokers> <registry URL> <topic> [count]')
const text = readFileSync(new URL('credit-transfer.avsc', import.meta.url), 'utf8')
const type = avro.Type.forSchema(JSON.parse(text), { wrapUnions: 'always' })
const own = 'ch.bank.iso20022.pacs008'

const answer = await fetch(`${registry}/subjects/${topic}-value/versions`, {
  method: 'POST',
  headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
  body: JSON.stringify({ schema: text }),
})
const { id } = await answer.json()
const prefix = Buffer.alloc(5)
prefix.writeInt32BE(id, 1)

function decimal(value, scale) {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(Math.round(value * 10 ** scale)))
  return bytes
}

function transfer(i) {
  const account = `CH93 0076 2011 6238 52${10 + (i % 7)}`
  return {
    GrpHdr: { MsgId: `M-${i}`, CreDtTm: (Date.UTC(2024, 2, 4, 9) + i * 60_000) * 1000, NbOfTxs: 1, SttlmMtd: 'CLRG' },
    CdtTrfTxInf: [
      {
        PmtId: { InstrId: null, EndToEndId: `E-${i}`, UETR: crypto.randomUUID() },
        IntrBkSttlmAmt: { Value: decimal(100 + i * 12.35, 5), Ccy: 'CHF' },
        IntrBkSttlmDt: 19_786,
        AccptncDtTm: null,
        ChrgBr: 'SHAR',
        Chrgs: i % 2 === 0 ? null : { [`${own}.ChargeAmount`]: decimal(0.25, 2) },
        Dbtr: { Nm: { string: 'Anna Muster' }, Id: null },
        DbtrAcct: { [`${own}.IbanAccount`]: { Id: account, CtryOfBk: 'CH' } },
        CdtrAgt: 'UBSWCHZH80A',
        Cdtr: { Nm: null, Id: null },
        CdtrAcct: { [`${own}.OtherAccount`]: { SchmeNm: null, Id: '01-162-8' } },
        RmtInf: [`invoice ${i}`],
      },
    ],
    SplmtryData: { channel: 'e-banking' },
  }
}

const kafka = new Kafka({ clientId: 'payment-hub', brokers: brokers.split(','), logLevel: logLevel.ERROR })
const admin = kafka.admin()
await admin.connect()
await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
await admin.disconnect()
const producer = kafka.producer()
await producer.connect()
const messages = Array.from({ length: Number(count) }, (_, i) => {
  const value = transfer(i)
  const headers = { ce_specversion: '1.0', ce_id: `M-${i}`, ce_source: '/payment-hub', ce_type: 'bank.transfer.accepted', traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01` }
  // The key decides the partition: all transfers of an account go to one.
  return { key: value.CdtTrfTxInf[0].DbtrAcct[`${own}.IbanAccount`].Id, value: Buffer.concat([prefix, type.toBuffer(value)]), headers }
})
await producer.send({ topic, messages })
await producer.disconnect()
console.log(`${count} transfers in ${topic}, schema id ${id}`)
