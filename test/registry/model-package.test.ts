import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { exportModel, keyId, readSigningKey, readTrustedKey, unpackModel } from '../../src/registry/model-package.js'
import { gruStep, TestStore } from '../inference/test-models.js'

describe('a model version as one signed file', () => {
  const store = new TestStore()
  const folder = mkdtempSync(join(tmpdir(), 'harrier-package-'))
  const ours = generateKeyPairSync('ed25519')
  const theirs = generateKeyPairSync('ed25519')
  const file = join(folder, 'gru.harrier-model')
  let version: string
  const write = (name: string, key: KeyObject): string => {
    const path = join(folder, name)
    writeFileSync(path, key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }))
    return path
  }
  before(() => {
    version = store.add('gru', gruStep()).folder
    exportModel({ folder: version, out: file, key: readSigningKey(write('key.pem', ours.privateKey)), actor: 'anna', nowMs: 0, harrier: '0' })
  })
  after(() => {
    store.remove()
    rmSync(folder, { recursive: true })
  })

  it('comes out as it went in, for who trusts the key', () => {
    const unpacked = unpackModel(file, [theirs.publicKey, readTrustedKey(write('key.pub.pem', ours.publicKey))])
    assert.equal(unpacked.model.reference, 'gru@1')
    assert.equal(unpacked.signedBy, keyId(ours.publicKey))
    for (const name of ['model.yaml', 'model.onnx']) assert.ok(readFileSync(join(unpacked.folder, name)).equals(readFileSync(join(version, name))), name)
    unpacked.remove()
    assert.ok(!existsSync(unpacked.folder))
  })

  it('is refused by who trusts another key, or none, and the key that it names is told', () => {
    assert.throws(() => unpackModel(file, [theirs.publicKey]), { code: 'PACKAGE_REFUSED', message: new RegExp(`not signed by ${keyId(theirs.publicKey)}; it names the key ${keyId(ours.publicKey)}`) })
    assert.throws(() => unpackModel(file, []), { code: 'PACKAGE_REFUSED', message: /not signed by anybody who is trusted/ })
  })

  it('is refused when any of its bytes has been altered, or some are missing or added; nothing is left of it', () => {
    const bytes = readFileSync(file)
    const leftovers = (): number => readdirSync(tmpdir()).filter((name) => name.startsWith('harrier-model-')).length
    const before = leftovers()
    const altered = join(folder, 'altered')
    const step = Math.max(1, Math.floor(bytes.length / 120))
    for (let at = 0; at < bytes.length; at += step) {
      const copy = Buffer.from(bytes)
      copy[at]! ^= 1
      writeFileSync(altered, copy)
      assert.throws(() => unpackModel(altered, [ours.publicKey]), { code: 'PACKAGE_REFUSED' }, `byte ${at}`)
    }
    for (const other of [bytes.subarray(0, -1), bytes.subarray(0, 10), Buffer.concat([bytes, Buffer.from('x')]), Buffer.alloc(0)]) {
      writeFileSync(altered, other)
      assert.throws(() => unpackModel(altered, [ours.publicKey]), { code: 'PACKAGE_REFUSED' })
    }
    assert.equal(leftovers(), before)
  })

  it('is signed by ed25519 keys alone, and a key that is none is not repeated', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    assert.throws(() => readSigningKey(write('rsa.pem', rsa.privateKey)), { code: 'CONFIG_INVALID', message: /of type rsa, not ed25519/ })
    const secret = join(folder, 'secret')
    writeFileSync(secret, 'hunter2')
    assert.throws(() => readSigningKey(secret), (error: Error) => !error.message.includes('hunter2') && (error as { code?: string }).code === 'CONFIG_INVALID')
  })
})
