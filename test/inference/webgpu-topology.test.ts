import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { loadTopology, parseTopology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver, type TestOutputs } from '../../src/topology/test-driver.js'
import { randomCards } from '../topology/card-events.js'
import { scoreTolerance, whyNoWebgpu } from './webgpu-adapter.js'

const skip = await whyNoWebgpu()

interface Scored {
  readonly event_id: string
  readonly decision: string
  readonly scores: readonly { readonly model: string; readonly score: number | null }[]
}

describe('the topology card-fraud on WebGPU', () => {
  const cpu = loadTopology('card-fraud')
  const text = readFileSync(cpu.file, 'utf8')
  const webgpu = parseTopology(text.replace(/^(\s+)champion: .*$/m, '$&\n$1device: webgpu'), cpu.file)
  const records = randomCards(11, 600, { customers: 40 })

  test('decides as on the CPU, names the device in its lineage, and goes on from its state on the CPU', { skip }, async () => {
    const onCpu = await TopologyTestDriver.open({ topology: cpu, partitions: 2 })
    const onGpu = await TopologyTestDriver.open({ topology: webgpu, partitions: 2 })
    try {
      const [early, late] = [records.slice(0, 400), records.slice(400)]
      const outputs = await onGpu.pipe(early, 150)
      assertAgree(outputs, await onCpu.pipe(early, 150))
      for (const { value } of outputs.lineage) {
        assert.deepEqual([...new Set(value.models.map(({ device }) => device))], ['webgpu'])
        assert.match(value.engine.device_class, / webgpu /)
      }
      const moved = await onGpu.restart({ topology: cpu })
      try {
        const after = await moved.pipe(late, 150)
        assertAgree(after, await onCpu.pipe(late, 150))
        assert.deepEqual([...new Set(after.lineage.flatMap(({ value }) => value.models.map(({ device }) => device)))], ['cpu'])
      } finally {
        await moved.close()
      }
    } finally {
      await onCpu.close()
      await onGpu.close()
    }
  })
})

function assertAgree(actual: TestOutputs, expected: TestOutputs): void {
  assert.equal(actual.scored.length, expected.scored.length)
  assert.ok(actual.scored.length > 0)
  actual.scored.forEach(({ value }, index) => {
    const [gpu, cpu] = [value as Scored, expected.scored[index]!.value as Scored]
    assert.equal(gpu.event_id, cpu.event_id)
    assert.equal(gpu.decision, cpu.decision)
    gpu.scores.forEach(({ model, score }, at) => {
      assert.ok(Math.abs(score! - cpu.scores[at]!.score!) <= scoreTolerance, `${gpu.event_id} by ${model}: ${score} and ${cpu.scores[at]!.score}`)
    })
  })
}
