import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'

/** Instructions of the Dockerfile, continued lines joined. */
const instructions = readFileSync('Dockerfile', 'utf8').replace(/^#.*\n/gm, '').replace(/\\\n/g, ' ').split('\n').filter((line) => line.trim() !== '').map((line) => {
  const [, name, rest] = /^([A-Z]+) +(.*)$/.exec(line) ?? assert.fail(`no instruction: ${line}`)
  return { name: name!, rest: rest! }
})
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'))
const of = (name: string): string => lastStage.findLast((each) => each.name === name)?.rest ?? assert.fail(`the image has no ${name}`)

describe('the Dockerfile', () => {
  it('copies what is here, and what .dockerignore lets through', () => {
    const rules = readFileSync('.dockerignore', 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    assert.equal(rules[0], '*', 'nothing goes along by accident')
    const sources = instructions.filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from')).flatMap(({ rest }) => rest.split(/ +/).slice(0, -1))
    assert.ok(sources.length > 8)
    for (const source of sources) {
      assert.ok(existsSync(source), `${source} is here`)
      assert.ok(rules.includes(`!${source}`), `.dockerignore lets ${source} through`)
    }
  })

  it('runs as a user that is not root, from a slim image of the Node that it was built with, and is asked whether it lives', () => {
    assert.match(of('USER'), /^[1-9]\d*:[1-9]\d*$/)
    const bases = instructions.filter(({ name }) => name === 'FROM').map(({ rest }) => rest)
    assert.match(bases[1]!, /^node:\d+-\w+-slim$/)
    assert.equal(bases[0]!.replace(/ AS build$/, ''), bases[1]!.replace(/-slim$/, ''))
    const major = Number(/^node:(\d+)/.exec(bases[1]!)![1])
    assert.ok(major >= 20)
    const home = of('WORKDIR')
    for (const command of [of('ENTRYPOINT'), of('HEALTHCHECK').replace(/^.*CMD /, '')]) {
      const [program, script] = JSON.parse(command) as string[]
      assert.equal(program, 'node')
      assert.ok(script!.startsWith(`${home}/bin/`) && statSync(script!.slice(home.length + 1)).isFile(), script)
    }
    assert.ok(lastStage.some(({ name, rest }) => name === 'COPY' && rest === `--from=build /image ${home}`))
  })

  it('calls healthy what answers 200, and nothing else', async () => {
    let status = 200
    const server = createServer((_, response) => response.writeHead(status).end()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const check = async (): Promise<unknown> => {
      const child = spawn(process.execPath, ['bin/healthcheck.js'], { env: { HARRIER_HEALTH: url }, stdio: 'ignore' })
      return (await once(child, 'exit'))[0]
    }
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`
    assert.equal(await check(), 0)
    status = 503
    assert.equal(await check(), 1)
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
    assert.equal(await check(), 1)
  })
})
