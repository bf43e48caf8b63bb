import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../../../src/base/clock.js'
import { EngineProcess } from '../../../src/cli/view/engine-process.js'

const folder = mkdtempSync(join(tmpdir(), 'harrier-engine-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function fakeEngine(name: string, script: string): string {
  const file = join(folder, `${name}.mjs`)
  writeFileSync(file, script)
  return file
}

const speaking = `
process.stdout.write(JSON.stringify({ state: 'running', pid: process.pid }) + '\\n')
setInterval(() => undefined, 1000)
`

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 20_000
  while (!isTrue()) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited for ${what}`)
    await systemClock.sleep(10)
  }
}

function engineOf(program: string): { engine: EngineProcess; deaths: { how: string; lines: readonly string[] }[] } {
  const deaths: { how: string; lines: readonly string[] }[] = []
  const engine = new EngineProcess({ args: [], clock: systemClock, program, onDeath: (how, lines) => deaths.push({ how, lines }) })
  return { engine, deaths }
}

const pidOf = (engine: EngineProcess): number | undefined => (engine.stats as unknown as { pid: number } | undefined)?.pid

describe('the process of the engine', () => {
  it('is started again when it was killed, and ends by SIGTERM', async () => {
    const { engine, deaths } = engineOf(fakeEngine('speaking', speaking))
    engine.start()
    await until('its first line', () => engine.state === 'running')
    const first = pidOf(engine)
    engine.kill()
    await until('a new process', () => engine.state === 'running' && pidOf(engine) !== first)
    assert.equal(engine.kills, 1)
    assert.equal(await engine.stop(5_000), true)
    assert.deepEqual([engine.state, deaths.length], ['stopped', 0])
  })

  it('tells its last lines when it ends by itself', async () => {
    const { engine, deaths } = engineOf(fakeEngine('failing', `console.error('{"time":"2026-11-23T20:15:30.123Z","level":"warn","message":"no luck","code":"FENCED"}'); console.error('harrier: it broke'); process.exit(3)`))
    engine.start()
    await until('its end', () => deaths.length === 1)
    assert.deepEqual(deaths[0], { how: 'with exit code 3', lines: ['20:15:30.123 warn  no luck code=FENCED', 'harrier: it broke'] })
    assert.equal(await engine.stop(5_000), true)
  })

  it('is killed when it does not end in time', async () => {
    const { engine, deaths } = engineOf(fakeEngine('stubborn', `process.on('SIGTERM', () => undefined)\n${speaking}`))
    engine.start()
    await until('its first line', () => engine.state === 'running')
    assert.equal(await engine.stop(100), false)
    assert.deepEqual([engine.state, deaths.length], ['stopped', 0])
  })
})
