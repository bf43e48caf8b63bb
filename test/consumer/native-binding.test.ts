import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadNative, type NativeBinding } from '../../src/consumer/native-binding.js'
import { fuzzNative } from './native-fuzz.js'

const seed = Number(process.env.HARRIER_SEED ?? 7)
const root = fileURLToPath(new URL('../../../', import.meta.url))

function compiled(): NativeBinding {
  const native = loadNative()
  assert.ok('Client' in native, `${'why' in native ? native.why : ''}: npm run build:native`)
  return native
}

describe('native Kafka client', () => {
  it(`takes any arguments without a crash, and any order of calls and closes (seed ${seed})`, async () => {
    const counts = await fuzzNative(compiled(), seed, 1200)
    for (const [what, count] of Object.entries(counts)) assert.ok(count > 10, `${what}: ${count} of 1200`)
  })

  it('names a setting that librdkafka does not know, or a value that it refuses', () => {
    const { Client } = compiled()
    assert.throws(() => new Client(true, ['group.idd', 'x'], () => undefined), /No such configuration property: "group.idd"/)
    assert.throws(() => new Client(true, ['session.timeout.ms', '-5'], () => undefined), /session.timeout.ms/)
  })

  it('refuses columns that do not hold the rows, before anything is read of them', () => {
    const { Client } = compiled()
    const client = new Client(false, ['bootstrap.servers', '127.0.0.1:9', 'log_level', '0'], () => undefined)
    const words = new Int32Array(4)
    const columns = [new Uint8Array(4), words, new Float64Array(4), new Float64Array(4), words, words, words, words, words, words, new Uint8Array(10)] as const
    assert.throws(() => void client.send(columns, 5, ['t']), /too short/)
    assert.throws(() => void client.send(columns.slice(0, 10) as never, 4, ['t']), /11 typed arrays/)
    return client.close()
  })

  it(`does nothing that AddressSanitizer objects to (seed ${seed})`, { timeout: 300_000 }, (context) => {
    const library = spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim()
    if (!existsSync(library)) return context.skip('g++ has no libasan')
    const folder = mkdtempSync(join(tmpdir(), 'harrier-asan-'))
    try {
      const built = spawnSync(process.execPath, [join(root, 'scripts/build-native.js'), '--asan', '--into', folder], { encoding: 'utf8' })
      assert.equal(built.status, 0, built.stdout + built.stderr)
      const ran = spawnSync(process.execPath, [fileURLToPath(new URL('native-fuzz.js', import.meta.url)), join(folder, 'build/Release/harrier-kafka.node'), String(seed), '600'], {
        encoding: 'utf8',
        // Node itself frees nothing at its end.
        env: { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: 'detect_leaks=0' },
      })
      assert.doesNotMatch(ran.stderr, /AddressSanitizer/)
      assert.equal(ran.status, 0, ran.stderr)
      assert.match(ran.stdout, /"resolved":\d+/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
