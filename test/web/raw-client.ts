import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Sends bytes that need not be HTTP, one request at a time, over a connection that is opened again when it was closed. */
export class RawClient {
  readonly #port: number
  #socket: Socket | undefined
  #received: Buffer[] = []
  #wake: () => void = () => undefined

  constructor(port: number) {
    this.#port = port
  }

  /** The answers that came: none where the connection was closed instead. `isCut`: nothing more will be sent, so the server need not wait for it. */
  async send({ bytes, isCut: end }: { readonly bytes: Buffer; readonly isCut: boolean }): Promise<RawAnswer[]> {
    const isHead = bytes.subarray(0, 5).toString() === 'HEAD '
    const socket = this.#open()
    this.#received = []
    await new Promise<void>((resolve) => {
      this.#wake = () => {
        // where the request may be read as several, all of it is answered once the connection is over
        if (socket.destroyed || (!end && answersOf(Buffer.concat(this.#received), isHead).isWhole)) resolve()
      }
      socket.once('close', this.#wake)
      if (end) socket.end(bytes)
      else socket.write(bytes)
    })
    socket.removeListener('close', this.#wake)
    const { answers } = answersOf(Buffer.concat(this.#received), isHead)
    if (end || answers.some(({ head }) => /\r\nconnection: close/i.test(head))) this.close()
    return answers
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #open(): Socket {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket
    const socket = connect({ port: this.#port, host: '127.0.0.1', allowHalfOpen: true })
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk)
      this.#wake()
    })
    // a server that is not interested in the rest of a request resets the connection
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.destroy())
    return socket
  }
}

/** Answers at the beginning of what came; whole when nothing is left over. */
function answersOf(received: Buffer, isHead: boolean): { readonly answers: RawAnswer[]; readonly isWhole: boolean } {
  const answers: RawAnswer[] = []
  let rest = received
  for (;;) {
    const headEnd = rest.indexOf('\r\n\r\n')
    if (headEnd < 0) break
    const head = rest.subarray(0, headEnd).toString('latin1')
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? NaN)
    if (status === 100) {
      rest = rest.subarray(headEnd + 4)
      continue
    }
    // the answer to a HEAD has no body, whatever its headers say; what is no HTTP is answered before anybody knows that it was one
    const length = isHead && !/connection: close/i.test(head) ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
    const after = rest.subarray(headEnd + 4)
    const hasBody = after.length >= length
    answers.push({ status, head, body: after.subarray(0, length).toString('utf8') })
    rest = hasBody ? after.subarray(length) : Buffer.alloc(0)
    if (!hasBody) return { answers: answers.slice(0, -1), isWhole: false }
  }
  return { answers, isWhole: rest.length === 0 && answers.length > 0 }
}
