import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sparkline } from '../../../src/cli/view/sparkline.js'
import { span, styledLine, wantsColours } from '../../../src/cli/view/styled-line.js'

describe('lines for a terminal', () => {
  it('are cut at its width whatever their colours', () => {
    const spans = [span('abc', 'good'), span('defg', 'bad')]
    assert.equal(styledLine(spans, 5, false), 'abcde')
    assert.equal(styledLine(spans, 5, true), '\x1b[32mabc\x1b[0m\x1b[1;31mde\x1b[0m')
    assert.equal(styledLine(spans, 3, true), '\x1b[32mabc\x1b[0m')
  })

  it('have colours only on a terminal that did not ask for none', () => {
    assert.equal(wantsColours({ isTTY: true }, {}), true)
    assert.equal(wantsColours({ isTTY: true }, { NO_COLOR: '' }), true)
    assert.equal(wantsColours({ isTTY: true }, { NO_COLOR: '1' }), false)
    assert.equal(wantsColours({ isTTY: true }, { TERM: 'dumb' }), false)
    assert.equal(wantsColours({}, {}), false)
  })

  it('draw the newest values, the largest as a full block and nothing as nothing', () => {
    assert.equal(sparkline([9, 0, 1, 2, 4], 4), ' ▃▅█')
    assert.equal(sparkline([4], 3), '  █')
    assert.equal(sparkline([], 3), '   ')
    assert.equal(sparkline([0, 0], 2), '  ')
  })
})
