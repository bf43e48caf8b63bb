import { connect } from 'node:net'
import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'

/** Brokers that are asked, and how long each has to accept a connection. */
const askedMax = 3
const acceptMsMax = 2000

/**
 * Why nothing can be reached at addresses such as `broker-1:9092,broker-2:9092`: the reason of the first that cannot, or '' where
 * one accepts connections. For a client that gave no reason itself.
 */
export async function unreachableReason(brokers: string, clock: Clock): Promise<string> {
  const reasons = await Promise.all(brokers.split(',').slice(0, askedMax).map((address) => refusalOf(address.trim(), clock)))
  return reasons.every((reason) => reason !== '') ? (reasons[0] ?? '') : ''
}

async function refusalOf(address: string, clock: Clock): Promise<string> {
  const [, host = '', port = ''] = /^(?:\w+:\/\/)?\[?(.*?)\]?:(\d+)$/.exec(address) ?? []
  if (host === '') return ''
  const socket = connect({ host, port: Number(port) })
  const decided = new AbortController()
  try {
    return await Promise.race([
      new Promise<string>((resolve) => socket.once('connect', () => resolve('')).once('error', (error) => resolve(messageOf(error)))),
      clock.sleep(acceptMsMax, decided.signal).then(() => `connect to ${address}: no answer in ${acceptMsMax} ms`),
    ])
  } finally {
    decided.abort()
    socket.on('error', () => undefined).destroy()
  }
}
