import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fellBack, openSession } from '../../src/inference/device.js'
import { findSharedLibrary } from '../../src/inference/device-libraries.js'
import { placedOnCpu } from '../../src/inference/device-placement.js'
import { windowGru } from './test-models.js'

test('nodes that are left to the CPU are read out of onnxruntime\'s log, those of one kind together', () => {
  const line = (text: string): string => `2026-11-24 02:18:10.66 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp] ${text}`
  const log = [
    ' Node(s) placed on [CPUExecutionProvider]. Number of nodes: 5', '  Det ()', '  Shape (/a/Shape)', '  Shape (/b/Shape)', '  Cast (/c/Cast)', '  MemcpyToHost (Memcpy_token_0)',
    ' Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 2', '  Gemm (/d/Gemm)', '  Sigmoid ()',
  ].map(line).join('\n')
  assert.equal(placedOnCpu(log), 'Det, Shape (2 times, first /a/Shape), Cast (/c/Cast)')
  assert.equal(placedOnCpu(line(' All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 7')), null)
  const trees = 'I:onnxruntime:, webgpu_execution_provider.cc:665 GetCapability] webgpu kernel not found in registries for Op type: TreeEnsembleClassifier node name: trees'
  assert.equal(placedOnCpu([trees, trees, line(' All nodes placed on [CPUExecutionProvider]. Number of nodes: 1')].join('\n')), 'TreeEnsembleClassifier (trees)')
  const many = [' Node(s) placed on [CPUExecutionProvider]. Number of nodes: 10', ...Array.from({ length: 10 }, (_, index) => `  Op${index} ()`)].map(line).join('\n')
  assert.match(placedOnCpu(many)!, /^Op0, .*Op7, and 2 more operators$/)
})

test('auto runs a model that no GPU can run on the CPU, says why of each, and it counts as fallen back', async () => {
  const { session, device, deviceNote } = await openSession(windowGru().bytes as Uint8Array<ArrayBuffer>, 'window@1', 'auto')
  await session.release()
  // a machine with CUDA may well run it
  if (device === 'cuda') return
  assert.equal(device, 'cpu')
  assert.match(deviceNote!, /^no GPU can run it: cuda: .+; webgpu: .+/)
  assert.equal(fellBack({ device, deviceNote }), true)
})

test('a slower GPU is no fall-back', () => {
  assert.equal(fellBack({ device: 'cpu', deviceNote: null }), false)
  assert.equal(fellBack({ device: 'cpu', deviceNote: '500 rows take 9.00 ms on webgpu and 0.50 ms on cpu; cuda: no driver' }), false)
})

test('a shared library is found where the loader finds it', { skip: process.platform === 'linux' ? false : 'only Linux has /proc' }, () => {
  assert.match(findSharedLibrary('libc.so.6')!, /^\/.*\/libc\.so\.6$/)
  assert.equal(findSharedLibrary('libnothing-of-that-name.so.1'), undefined)
})
