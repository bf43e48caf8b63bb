import assert from 'node:assert/strict'
import { test } from 'node:test'
import { durationText, fillTemplate, templateProblem } from '../../src/inference/reason-text.js'

test('values stand in a text as they are, with decimals, as a duration, as a share', () => {
  const values: Record<string, number | string> = { amount: 220.5, count: 3, channel: 'ECOM', log: Math.log1p(5400), share: 0.256 }
  const text = '{amount} {amount:0} {amount:3} {count} {channel:2} {log:expm1:duration} {log:expm1:0} {share:percent}'
  assert.equal(templateProblem(text, Object.keys(values)), undefined)
  assert.equal(fillTemplate(text, (name) => values[name]!), '220.50 221 220.500 3 ECOM 90 min 5400 26 %')
})

test('a duration is said in the unit that people would take', () => {
  assert.deepEqual([0, 119.4, 120, 7199, 7200, 172_799, 172_800, 1e7].map(durationText), ['0 s', '119 s', '2 min', '120 min', '2 h', '48 h', '2 days', '116 days'])
})

test('a text with a wrong name, a wrong format or a brace too many is refused', () => {
  for (const text of ['{b}', '{a:x}', '{a', 'a}', '{}', '{a:7}', '{{a}}']) assert.notEqual(templateProblem(text, ['a']), undefined, text)
})
