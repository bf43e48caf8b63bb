import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { LocalStack } from '../../src/stack/local-stack.js'
import { CardFeeder, driveToEnd, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { verifyEngineRun } from './engine-verify.js'

/** Room for the broker's log and its metadata; all of it is in memory. */
const diskMegabytes = 192
const brokerDiesMsMax = 120_000
/** The engine stands without a broker for so long at least: past its session and the time-out of a transaction. */
const downMs = 12_000

/** A small file system of its own for the broker's logs; undefined where this user may not mount one. */
function smallDisk(at: string): (() => void) | undefined {
  mkdirSync(at, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMegabytes}m`, 'tmpfs', at], { stdio: 'pipe' })
  } catch {
    return undefined
  }
  // Lazily: a process that was just killed may hold it for a moment more.
  return () => execFileSync('umount', ['-l', at])
}

/** Takes what is left, down to the last page. */
function fill(file: string): void {
  for (let bytes = 1 << 20; bytes >= 4096; bytes >>= 1) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(bytes), { flag: 'a' })
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
}

it('waits through a full disk of the broker, and goes on when there is room: no gap, no duplicate', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'harrier-test-'))
  const disk = join(stateDir, 'kafka')
  const unmount = smallDisk(disk)
  if (!unmount) {
    rmSync(stateDir, { recursive: true })
    return t.skip('this user may not mount a small file system (`mount -t tmpfs`)')
  }
  const stack = new LocalStack({ stateDir, ephemeral: true })
  try {
    const { brokers, registryUrl } = await stack.up()
    const where = { brokers, registryUrl }
    const topology = smallBatchTopology()
    const feeder = new CardFeeder(where, ['disk'], 11)
    await feeder.start()
    await feeder.send(1500)
    const start = (): EngineProcess => new EngineProcess({ stack: where, namespace: 'disk', instanceId: 'a', topology })
    const engine = start()
    await engine.until('in full run', () => (engine.stats?.counters.scored ?? 0) > 0)
    const filler = join(disk, 'filler')
    fill(filler)
    // A broker whose only log folder fails ends itself.
    const endMs = clock.monotonicMs() + brokerDiesMsMax
    while ((await stack.status()).services.find(({ name }) => name === 'broker')?.ok) {
      assert.ok(clock.monotonicMs() < endMs, 'a broker without room ends')
      fill(filler)
      await clock.sleep(200)
    }
    await clock.sleep(downMs)
    assert.equal(engine.ended, false, engine.log.slice(-5).join('\n'))
    rmSync(filler)
    await stack.killBroker()
    await stack.startBroker()
    await feeder.send(300)
    const { restarts, aborts } = await driveToEnd(engine, feeder, start)
    await verifyEngineRun(brokers, 'disk', feeder.sent)
    t.diagnostic(`aborts ${aborts}, restarts ${restarts}`)
    await feeder.close()
  } finally {
    // The folder goes with the stack, its mount point after it.
    await stack.down().catch(() => undefined)
    unmount()
    rmSync(stateDir, { recursive: true, force: true })
  }
})
