import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { silentLogger as logger } from '../../src/base/logger.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { KafkaAdmin } from '../../src/consumer/admin.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import { fenceKilledBroker } from '../../src/stack/fence-killed-broker.js'
import { partFolder } from '../../src/stack/library.js'
import { LocalStack } from '../../src/stack/local-stack.js'
import { requireJava } from '../../src/stack/programs.js'
import { readRecord } from '../../src/stack/stack-record.js'

const noJava = '/no/such/java'

describe('a broker that is its own controller', () => {
  const options = { folder: tmpdir(), controllerPort: 1, classPath: '', clock }
  const folderWith = (files: readonly string[], topics: readonly string[]): string => {
    const dataFolder = mkdtempSync(join(tmpdir(), 'harrier-fence-'))
    for (const file of files) writeFileSync(join(dataFolder, file), '')
    for (const topic of topics) mkdirSync(join(dataFolder, topic))
    return dataFolder
  }

  it('is started as ever the first time, after it ended in order, and when it never saw a transaction', async () => {
    const mark = '.kafka_cleanshutdown'
    for (const dataFolder of [folderWith([], []), folderWith(['meta.properties', mark], ['__transaction_state-0']), folderWith(['meta.properties'], [])]) {
      assert.equal(await fenceKilledBroker(noJava, { ...options, dataFolder }), false)
    }
  })

  it('does not keep it from starting when the controller cannot run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-fence-'))
    assert.equal(await fenceKilledBroker(noJava, { ...options, folder, dataFolder: folderWith(['meta.properties'], ['__transaction_state-0']) }), false)
  })

  it('has lost its partitions by the time it starts after a kill, and has them again afterwards', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'harrier-test-'))
    const stack = new LocalStack({ stateDir, ephemeral: true, registry: false })
    try {
      const { brokers } = await stack.up()
      const admin = new KafkaAdmin({ brokers, clock })
      await admin.start()
      await admin.ensureTopics([{ topic: 'fenced', partitions: 1 }], { create: true })
      await admin.close()
      const producer = new RdkafkaTransactionalProducer({ brokers, transactionalId: 'fenced', clock, logger })
      await producer.init()
      await producer.begin()
      const columns = new RecordColumns(1)
      columns.append(0, 0, 0, clock.nowMs(), null, Buffer.from('x'))
      await producer.send(columns, ['fenced'])
      await producer.commit()
      await producer.close()
      const { controller } = readRecord(stack.folder.record)!.ports
      await stack.killBroker()
      const java = await requireJava()
      const data = { dataFolder: join(stack.folder.kafkaData, 'data'), folder: stack.folder.kafkaData, controllerPort: controller, classPath: join(partFolder(stack.folder.lib, 'kafka'), '*'), clock }
      assert.equal(await fenceKilledBroker(java.path, data), true)
      await stack.startBroker()
      const again = new KafkaAdmin({ brokers, clock })
      await again.start()
      // The record and its marker. A leader knows how far its log is committed only some moments after its start.
      const endMs = clock.monotonicMs() + 60_000
      while ((await again.ends('fenced')).get(0)?.high !== 2) {
        assert.ok(clock.monotonicMs() < endMs, 'all that was committed is there again')
        await clock.sleep(100)
      }
      await again.close()
    } finally {
      await stack.down()
    }
  })
})
