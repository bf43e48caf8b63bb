import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { tlsRemedy, withoutNoise } from '../../src/connection/trouble.js'

describe('what clients say about a connection', () => {
  it('is told without thread names and times, and with its brackets closed', () => {
    const said = '[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 5 identical error(s) suppressed)'
    assert.doesNotMatch(withoutNoise(said), /thrd|after|suppressed|\(|\)/)
    assert.match(withoutNoise(said), /Connection refused$/)
    assert.equal(withoutNoise('Connection refused (after 3ms in state CONNECT)'), 'Connection refused')
  })

  it('names TLS where a connection was only closed, and not where TLS is on', () => {
    const hinted = [
      '',
      'Closed connection',
      'a:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN',
      'Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?)',
    ]
    for (const said of hinted) {
      assert.match(tlsRemedy(said, false).remedy ?? '', /may want TLS/)
      assert.deepEqual(tlsRemedy(said, true), {})
    }
    assert.deepEqual(tlsRemedy('Connection refused', false), {})
  })
})
