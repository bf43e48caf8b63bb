import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { HarrierError } from '../../src/base/errors.js'
import { maskAt, maskText, maskValue } from '../../src/privacy/mask.js'
import { createKeyFile, loadPrivacyKeys, newestSeal, retireTokenKey, rotateKeys, tokensInForce, type PrivacyKeys } from '../../src/privacy/privacy-keys.js'
import { openLetter, sealLetter, sealVersion } from '../../src/privacy/sealed-letter.js'
import { Tokeniser, tokenOf } from '../../src/privacy/tokeniser.js'
import { isToken, tokenTextBytesMax, tokenVersion } from '../../src/privacy/token-text.js'

let folder: string
let file: string
let keys: PrivacyKeys
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrier-privacy-'))
  file = join(folder, 'keys.json')
  keys = createKeyFile(file)
})
after(() => rmSync(folder, { recursive: true }))

const refused = (code: string, pattern: RegExp) => (error: unknown) => error instanceof HarrierError && error.code === code && pattern.test(error.message)

describe('a mask', () => {
  it('keeps the end of a long text, and nothing that tells its length', () => {
    assert.deepEqual(['4000001234560199', '123456789012', 'customer7', '12345678', '1234567', '', 'Zoë👩‍🚀'].map(maskText), ['•••0199', '•••9012', '•••r7', '•••78', '•••', '•••', '•••'])
    assert.deepEqual(maskValue([12, true, null, { iban: 'DE02100100100006820101' }]), ['•••', '•••', null, { iban: '•••0101' }])
  })

  it('reaches into records, arrays and maps, and leaves the rest', () => {
    const value = { legs: [{ iban: '1', cents: 5 }, { iban: '2', cents: 6 }], tags: { a: 'x' }, other: 1 }
    assert.deepEqual(maskAt(value, [['legs', '*', 'iban'], ['tags', '*']]), { legs: [{ iban: '•••', cents: 5 }, { iban: '•••', cents: 6 }], tags: { a: '•••' }, other: 1 })
    assert.equal(maskAt(value, []), value)
  })
})

describe('a tokeniser', () => {
  const bytes = (tokeniser: Tokeniser, domain: number, text: string, k = 0): string => {
    const value = Buffer.from(`..${text}..`)
    const at = tokeniser.find(domain, value, 2, value.length - 4) + k * tokenTextBytesMax
    return Buffer.from(tokeniser.bytes.subarray(at, at + tokeniser.tokenBytes[k]!)).toString()
  }

  it('gives the HMAC of domain and value, from its memory and without, also when much more is asked for than it remembers', () => {
    const key = { version: 7, id: '', key: keys.tokens[0]!.key }
    const tokeniser = new Tokeniser([key, { ...key, version: 12 }], ['card', 'terminal'], 8)
    const own = (domain: string, text: string): string => createHmac('sha256', key.key).update(`${domain}\0${text}`).digest().subarray(0, 16).toString('base64url')
    for (const round of [1, 2]) {
      for (let i = 0; i < 200; i++) {
        const text = i % 10 === 0 ? `${round > 1 ? i : i}`.repeat(40) : `c${i % 23}`
        assert.equal(bytes(tokeniser, 0, text), `t7_${own('card', text)}`)
        assert.equal(bytes(tokeniser, 0, text, 1), `t12_${own('card', text)}`)
        assert.equal(bytes(tokeniser, 1, text), `t7_${own('terminal', text)}`)
      }
    }
    const token = tokenOf(key, 'card', 'c1')
    assert.equal(token, `t7_${own('card', 'c1')}`)
    assert.deepEqual([isToken(token), tokenVersion(token), isToken('t7_short'), isToken('c1'), maskText(token)], [true, 7, false, false, token])
  })
})

describe('a dead letter that is encrypted', () => {
  const place = { topic: 'in', partition: 2, offset: 77 }
  const content = { key: Buffer.from('4711'), value: Buffer.from('card 4711'), headers: Buffer.from([0, 1, 2]) }

  it('comes back to the byte, nulls too, and its bytes are the same each time', () => {
    for (const each of [content, { ...content, key: null }, { key: null, value: null, headers: Buffer.alloc(0) }, { ...content, value: Buffer.alloc(0) }]) {
      const sealed = sealLetter(newestSeal(keys), place, each)
      assert.deepEqual(sealed, sealLetter(newestSeal(keys), place, each))
      assert.equal(sealVersion(sealed), 1)
      assert.ok(!Buffer.from(sealed).includes('4711'))
      assert.deepEqual(openLetter(keys.deadLetters, place, sealed), each)
    }
  })

  it('has another nonce for other contents in the same place, and for the same ones in another', () => {
    const nonce = (where: typeof place, value: string): string => Buffer.from(sealLetter(newestSeal(keys), where, { ...content, value: Buffer.from(value) })).subarray(8, 20).toString('hex')
    const nonces = ['a', 'b'].flatMap((value) => [nonce(place, value), nonce({ ...place, offset: 78 }, value), nonce({ ...place, topic: 'other' }, value)])
    assert.equal(new Set(nonces).size, nonces.length)
  })

  it('is opened by no other key, and not when a bit or its place was changed; each says why', () => {
    const sealed = sealLetter(newestSeal(keys), place, content)
    assert.throws(() => openLetter([], place, sealed), refused('PRIVACY_KEY_MISSING', /encrypted under key 1, and no key/))
    assert.throws(() => openLetter([{ ...keys.deadLetters[0]!, version: 2 }], place, sealed), refused('PRIVACY_KEY_MISSING', /the keys at hand are 2/))
    assert.throws(() => openLetter([{ ...keys.deadLetters[0]!, key: keys.tokens[0]!.key }], place, sealed), refused('RECORD_UNDECODABLE', /cannot be opened with key 1/))
    assert.throws(() => openLetter(keys.deadLetters, { ...place, offset: 78 }, sealed), refused('RECORD_UNDECODABLE', /another place/))
    for (const at of [9, 21, sealed.length - 1]) {
      const altered = Uint8Array.from(sealed)
      altered[at]! ^= 1
      assert.throws(() => openLetter(keys.deadLetters, place, altered), refused('RECORD_UNDECODABLE', /altered/))
    }
  })
})

describe('a file of keys', () => {
  it('is for its owner alone, is never written over, and shows its keys to nobody', () => {
    assert.throws(() => createKeyFile(file), refused('CONFIG_INVALID', /is there already/))
    chmodSync(file, 0o640)
    assert.throws(() => loadPrivacyKeys({ file }), refused('CONFIG_INVALID', /read by others \(mode 640\)/))
    chmodSync(file, 0o600)
    const text = readFileSync(file, 'utf8')
    const secret = (JSON.parse(text) as { tokens: { key: string }[] }).tokens[0]!.key
    assert.deepEqual(loadPrivacyKeys({ env: { HARRIER_PRIVACY_KEYS: text } })?.tokens.map(({ id }) => id), keys.tokens.map(({ id }) => id))
    assert.equal(loadPrivacyKeys({ env: {} }), undefined)
    assert.ok(!JSON.stringify(keys).includes(secret))
    for (const broken of [text.slice(5), text.replace('"version": 1', '"version": 0'), text.replace('in-force', 'retired'), text.replace(secret, `${secret}x`)]) {
      const other = join(folder, 'broken.json')
      writeFileSync(other, broken, { mode: 0o600 })
      assert.throws(() => loadPrivacyKeys({ file: other }), (error: unknown) => error instanceof HarrierError && error.code === 'CONFIG_INVALID' && !error.message.includes(secret.slice(0, 8)))
    }
  })

  it('is rotated: two versions of tokens are in force until the older one is retired, and older ones still find', () => {
    const states = ({ tokens }: PrivacyKeys): string[] => tokens.map(({ version, state }) => `${version} ${state}`)
    assert.throws(() => retireTokenKey(file), refused('CONFIG_INVALID', /only version 1/))
    assert.deepEqual(states(rotateKeys(file, 'tokens')), ['1 in-force', '2 in-force'])
    assert.throws(() => rotateKeys(file, 'tokens'), refused('CONFIG_INVALID', /no more than 2/))
    assert.deepEqual(states(retireTokenKey(file)), ['1 retired', '2 in-force'])
    rotateKeys(file, 'dead-letters')
    const now = loadPrivacyKeys({ file })!
    assert.deepEqual(tokensInForce(now).map(({ version }) => version), [2])
    assert.equal(newestSeal(now).version, 2)
    const place = { topic: 'in', partition: 0, offset: 1 }
    const content = { key: null, value: Buffer.from('x'), headers: Buffer.alloc(0) }
    assert.deepEqual(openLetter(now.deadLetters, place, sealLetter(newestSeal(keys), place, content)), content)
  })
})
