import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuInstructionSet, deviceClassOf } from '../../src/inference/device-class.js'

test('the device class names onnxruntime, provider, instruction set and Node', () => {
  assert.match(deviceClassOf(['webgpu', 'cpu', 'cpu']), /^onnxruntime-\d+\.\d+\.\d+ cpu\+webgpu \S+-\S+ node-\d+$/)
  assert.match(deviceClassOf([]), / none /)
})

test('the instruction set is the widest that the CPU has', () => {
  const flags = (text: string): string => cpuInstructionSet(() => `processor : 0\nflags\t\t: fpu ${text} sse2\nbugs : avx512f`).replace(/^\w+-/, '')
  assert.equal(flags('avx avx2'), 'avx2')
  assert.equal(flags('avx avx2 avx512f avx512_vnni'), 'avx512vnni')
  assert.equal(flags(''), 'unknown')
  assert.match(cpuInstructionSet(() => { throw new Error('no /proc') }), /-unknown$/)
})
