import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.js'
import { noProgress } from '../../src/stack/progress.js'
import { Guardian } from '../../src/stack/guardian.js'
import { askBroker, askRegistry } from '../../src/stack/health.js'
import { fetchLibrary, partFolder } from '../../src/stack/library.js'
import { stackLimits } from '../../src/stack/limits.js'
import { terminate, type OwnedProcess } from '../../src/stack/owned-process.js'
import { freePort } from '../../src/stack/ports.js'
import { requireJava, runProgram } from '../../src/stack/programs.js'
import { registryCommand } from '../../src/stack/registry-service.js'
import { serviceEnvironment, startService, waitUntilAnswers } from '../../src/stack/start-service.js'
import { defaultStateDir, stateFolder } from '../../src/stack/state-folder.js'

const clusterId = 'aGFycmllci10ZXN0LWMtMg'

interface Node {
  readonly id: number
  readonly port: number
  readonly slowPort: number
  readonly proxy: SlowProxy
  process: OwnedProcess | undefined
}

/** Two brokers of one KRaft cluster, with two copies of everything, and a registry. The first is the controller. */
export class TwoBrokers {
  readonly #folder = mkdtempSync(join(tmpdir(), 'harrier-cluster-'))
  readonly #guardian = new Guardian()
  readonly #nodes: Node[] = []
  readonly #extra: OwnedProcess[] = []
  #java = ''
  #controllerPort = 0
  registryUrl = ''

  async start(): Promise<void> {
    const lib = stateFolder(defaultStateDir()).lib
    this.#java = (await requireJava()).path
    await fetchLibrary(lib, ['kafka', 'registry'], noProgress)
    let port = 20_000 + (process.pid % 2_000) * 6
    const next = async (): Promise<number> => (port = (await freePort(port)) + 1) - 1
    this.#controllerPort = await next()
    for (const id of [1, 2]) {
      const proxy = new SlowProxy()
      this.#nodes.push({ id, port: await next(), slowPort: await next(), proxy, process: undefined })
      await proxy.open(this.#nodes.at(-1)!.slowPort)
    }
    const registryPort = await next()
    this.registryUrl = `http://127.0.0.1:${registryPort}/apis/ccompat/v7`
    const registry = this.#spawn('registry', registryCommand(this.#java, stateFolder(this.#folder, lib), registryPort))
    this.#extra.push(registry)
    await Promise.all([
      ...this.#nodes.map((node) => this.startNode(node.id)),
      waitUntilAnswers('registry', registry, this.#log('registry'), stackLimits.registryStartMsMax, () => askRegistry(this.registryUrl)),
    ])
  }

  /** Straight to the brokers. */
  get brokers(): string {
    return this.#nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')
  }

  /** Through proxies that can be slowed down. */
  get slowBrokers(): string {
    return this.#nodes.map(({ proxy }) => `127.0.0.1:${proxy.port}`).join(',')
  }

  get proxies(): readonly SlowProxy[] {
    return this.#nodes.map(({ proxy }) => proxy)
  }

  async startNode(id: number): Promise<void> {
    const node = this.#node(id)
    const config = join(this.#folder, `node-${id}.properties`)
    const classPath = join(partFolder(stateFolder(defaultStateDir()).lib, 'kafka'), '*')
    if (!node.process) {
      writeFileSync(config, this.#properties(node))
      const format = ['-XX:TieredStopAtLevel=1', '-cp', classPath, 'kafka.tools.StorageTool', 'format', '-c', config, '-t', clusterId]
      const ran = await runProgram(this.#java, format, { limitMs: stackLimits.formatMsMax, env: serviceEnvironment() })
      if (ran.code !== 0) throw new Error(`node ${id} cannot be formatted: ${ran.stdout}${ran.stderr}`)
    }
    node.process = this.#spawn(`node-${id}`, [this.#java, '-Xms128m', '-Xmx384m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', classPath, 'kafka.Kafka', config])
    await waitUntilAnswers(`node ${id}`, node.process, this.#log(`node-${id}`), stackLimits.brokerStartMsMax, () => askBroker(`127.0.0.1:${node.port}`))
  }

  /** SIGKILL, or in order, so that its partitions move before it is gone. It must be the second: the first is the controller. */
  async stopNode(id: number, how: 'killed' | 'in order'): Promise<void> {
    await terminate(this.#node(id).process!, how === 'killed' ? 0 : undefined)
  }

  async stop(): Promise<void> {
    this.#guardian.release()
    const processes = [...this.#extra, ...this.#nodes.flatMap(({ process }) => (process ? [process] : []))]
    await Promise.all(processes.map((each) => terminate(each, 0)))
    await Promise.all(this.proxies.map((proxy) => proxy.close()))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #node(id: number): Node {
    return this.#nodes.find((node) => node.id === id)!
  }

  #log(name: string): string {
    return join(this.#folder, 'logs', `${name}.log`)
  }

  #spawn(name: string, command: string[]): OwnedProcess {
    mkdirSync(join(this.#folder, 'logs'), { recursive: true })
    const started = startService(name, command, this.#log(name))
    this.#guardian.guard(started, this.#folder)
    return started
  }

  #properties({ id, port, slowPort, proxy }: Node): string {
    const isController = id === 1
    const settings: Record<string, string | number | boolean> = {
      'process.roles': isController ? 'broker,controller' : 'broker',
      'node.id': id,
      'controller.quorum.voters': `1@127.0.0.1:${this.#controllerPort}`,
      'listeners': `PLAINTEXT://127.0.0.1:${port},SLOW://127.0.0.1:${slowPort}${isController ? `,CONTROLLER://127.0.0.1:${this.#controllerPort}` : ''}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},SLOW://127.0.0.1:${proxy.port}`,
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,SLOW:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'inter.broker.listener.name': 'PLAINTEXT',
      'controller.listener.names': 'CONTROLLER',
      'log.dirs': join(this.#folder, `data-${id}`),
      'default.replication.factor': 2,
      'min.insync.replicas': 1,
      'offsets.topic.replication.factor': 2,
      'offsets.topic.num.partitions': 8,
      'transaction.state.log.replication.factor': 2,
      'transaction.state.log.min.isr': 1,
      'transaction.state.log.num.partitions': 8,
      // What an engine that stands still has left open is ended soon after its time, not at the next tenth second.
      'transaction.abort.timed.out.transaction.cleanup.interval.ms': 1000,
      'group.initial.rebalance.delay.ms': 0,
      'broker.session.timeout.ms': 3000,
      'broker.heartbeat.interval.ms': 500,
      'replica.lag.time.max.ms': 5000,
      'auto.create.topics.enable': false,
      // A broker that comes back leads again what it led: so that it can be stopped a second time, and for the trouble of it.
      'auto.leader.rebalance.enable': true,
      'leader.imbalance.check.interval.seconds': 2,
      'message.max.bytes': 8 << 20,
      'log.cleaner.enable': false,
    }
    return Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join('')
  }
}

/** A TCP proxy that holds each piece back for a while, in both directions, and can stand still altogether. */
export class SlowProxy {
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #stalled: Promise<void> | undefined
  delayMs = 0
  port = 0

  async open(target: number): Promise<void> {
    const server = createServer((client) => {
      const upstream = connect({ host: '127.0.0.1', port: target })
      this.#carry(client, upstream)
      this.#carry(upstream, client)
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.port = (server.address() as { port: number }).port
  }

  /** Nothing passes for so long; connections stay. */
  async stall(durationMs: number): Promise<void> {
    this.#stalled = systemClock.sleep(durationMs)
    await this.#stalled
    this.#stalled = undefined
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve(undefined)))
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.setNoDelay(true)
    let turn = Promise.resolve()
    from.on('data', (piece: Buffer) => {
      const due = systemClock.monotonicMs() + this.delayMs
      turn = turn.then(async () => {
        await systemClock.sleep(due - systemClock.monotonicMs())
        await this.#stalled
        to.write(piece)
      })
    })
    from.on('end', () => void turn.then(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      void turn.then(() => to.destroy())
    })
  }
}
