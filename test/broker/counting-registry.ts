import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Stands before a registry and counts what is asked of it. */
export class CountingRegistry {
  /** `GET /schemas/ids/7`, in order. */
  readonly calls: string[] = []
  readonly #target: URL
  readonly #server: Server

  constructor(registryUrl: string) {
    this.#target = new URL(registryUrl)
    const base = this.#target.pathname.replace(/\/$/, '')
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.calls.push(`${request.method} ${request.url!.replace(base, '')}`)
        const init: RequestInit = { method: request.method!, headers: { 'content-type': request.headers['content-type'] ?? 'application/json' } }
        if (chunks.length > 0) init.body = Buffer.concat(chunks)
        void fetch(new URL(request.url!, this.#target), init).then(async (answer) => {
          response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' })
          response.end(Buffer.from(await answer.arrayBuffer()))
        }, () => response.destroy())
      })
    })
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#target.pathname}`
  }

  count(call: string): number {
    return this.calls.filter((each) => each === call).length
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
