import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CounterRandom, threefry } from '../../src/simulator/counter-random.js'
import { CpythonRandom } from '../../src/simulator/cpython-random.js'
import { introsortOrder } from '../../src/simulator/introsort.js'
import { MersenneTwister } from '../../src/simulator/mersenne-twister.js'
import { LegacyRandom } from '../../src/simulator/numpy-legacy.js'

const times = <T>(count: number, draw: () => T): T[] => Array.from({ length: count }, draw)

test('MT19937 gives the reference outputs after both seedings', () => {
  const twister = new MersenneTwister().seedWord(5489)
  assert.deepEqual(times(5, () => twister.uint32()), [3499211612, 581869302, 3890346734, 3586334585, 545404204])
  for (let i = 5; i < 9999; i++) twister.uint32()
  assert.equal(twister.uint32(), 4123659995)
  twister.seedArray([0x123, 0x234, 0x345, 0x456])
  assert.deepEqual(times(5, () => twister.uint32()), [1067595299, 955945823, 477289528, 4107218783, 4228976476])
})

test('legacy draws equal those of numpy.random.RandomState', () => {
  const random = new LegacyRandom(12345)
  const normals = [-0.20470765948471295, 0.47894333805754824, -0.5194387150567381, -0.55573030434749, 1.9657805725027142]
  assert.deepEqual(times(5, () => random.normal(0, 1)), normals)
  assert.deepEqual(times(3, () => random.uniform(5, 100)), [96.62887937488405, 67.05182420279922, 76.14613056572162])
  const rates = [0, 0.3, 1.5, 4, 9.9, 0, 0.3, 1.5, 4, 9.9, 0, 0.3, 1.5, 4, 9.9]
  assert.deepEqual(rates.map((rate) => random.poisson(rate)), [0, 0, 2, 3, 13, 0, 1, 0, 3, 11, 0, 0, 0, 5, 14])
  assert.equal(random.normal(43200, 20000), 71068.1166594598)
})

test('seeding a legacy stream again forgets the kept normal', () => {
  const random = new LegacyRandom(7)
  const first = random.normal(0, 1)
  random.seed(7)
  assert.equal(random.normal(0, 1), first)
})

test('permutation and choice without replacement equal those of numpy', () => {
  assert.deepEqual([...new LegacyRandom(42).permutation(20)], [0, 17, 15, 1, 8, 5, 11, 3, 18, 16, 13, 2, 9, 19, 4, 12, 7, 10, 14, 6])
  assert.deepEqual([...new LegacyRandom(181).choice(10_000, 2)], [8036, 7289])
  assert.deepEqual([...new LegacyRandom(181).choice(5000, 3)], [4314, 3945, 4038])
})

/** From CPython 3.11: choice from 75 (8 times), from 1 and 64, then sample(30, 10), (400, 4), (1000, 20), (3, 1). */
const cpythonAnswers: [seed: number, choices: number[], edges: number[], samples: number[][]][] = [
  [0, [49, 53, 5, 33, 65, 62, 51, 38], [0, 45], [
    [18, 28, 6, 16, 4, 9, 25, 3, 19, 8], [272, 361, 308, 75],
    [317, 101, 747, 75, 920, 870, 700, 338, 483, 573, 103, 362, 444, 323, 625, 655, 934, 209, 989, 565], [1],
  ]],
  [4999, [20, 23, 14, 6, 2, 35, 60, 6], [0, 43], [
    [0, 10, 8, 26, 15, 21, 14, 17, 2, 16], [350, 312, 141, 67],
    [843, 871, 439, 46, 413, 146, 916, 619, 344, 409, 773, 368, 904, 343, 470, 595, 14, 764, 252, 729], [0],
  ]],
  [2 ** 40 + 7, [73, 60, 32, 16, 66, 48, 66, 46], [0, 56], [
    [14, 27, 11, 7, 29, 24, 19, 5, 4, 16], [374, 292, 83, 16],
    [258, 77, 772, 376, 136, 133, 735, 591, 601, 31, 862, 579, 955, 154, 987, 946, 53, 356, 299, 620], [1],
  ]],
]

for (const [seed, choices, edges, samples] of cpythonAnswers) {
  test(`choice and sample equal those of CPython for seed ${seed}`, () => {
    const random = new CpythonRandom(seed)
    assert.deepEqual(times(8, () => random.choiceIndex(75)), choices)
    assert.deepEqual([random.choiceIndex(1), random.choiceIndex(64)], edges)
    const sizes = [[30, 10], [400, 4], [1000, 20], [3, 1]] as const
    assert.deepEqual(sizes.map(([n, k]) => random.sampleIndices(n, k)), samples)
  })
}

test('introsort puts equal keys in the order of numpy\'s scalar argsort', () => {
  const keys = [
    33, 40, 1, 40, 23, 25, 31, 14, 48, 2, 13, 19, 28, 20, 6, 2, 0, 2, 7, 49, 9, 32, 37, 11, 14, 21,
    13, 48, 8, 44, 39, 42, 5, 19, 31, 24, 33, 33, 33, 3,
  ]
  const expected = [
    16, 2, 17, 15, 9, 39, 32, 14, 18, 28, 20, 23, 10, 26, 24, 7, 11,
    33, 13, 25, 4, 35, 5, 12, 6, 34, 21, 37, 36, 0, 38, 22, 30, 3, 1, 31, 29, 27, 8, 19,
  ]
  assert.deepEqual([...introsortOrder(Int32Array.from(keys))], expected)
  const long = Int32Array.from({ length: 5000 }, (_, i) => (i * 7919) % 613)
  const order = introsortOrder(long)
  assert.equal(new Set(order).size, long.length)
  for (let i = 1; i < order.length; i++) assert.ok(long[order[i - 1]!]! <= long[order[i]!]!)
})

test('threefry gives the known answers of Random123', () => {
  const answer = (key: number[], counter: [number, number, number, number]): string[] => {
    const out = new Uint32Array(4)
    threefry(out, Int32Array.from(key, (word) => word | 0), ...counter)
    return [...out].map((word) => word.toString(16).padStart(8, '0'))
  }
  assert.deepEqual(answer([0, 0, 0, 0], [0, 0, 0, 0]), ['9c6ca96a', 'e17eae66', 'fc10ecd4', '5256a7d8'])
  assert.deepEqual(answer([-1, -1, -1, -1], [-1, -1, -1, -1]), ['2a881696', '57012287', 'f6c7446e', 'a16a6732'])
  const pi: [number, number, number, number] = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]
  assert.deepEqual(answer([0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89], pi), ['59cd1dbb', 'b8879579', '86b5d00c', 'ac8b6d84'])
})

test('a counter stream is the same whenever it is started, and apart from its neighbours', () => {
  const random = new CounterRandom(1, 2)
  const first = times(9, () => random.start(5, 6).uint32() + random.uint32())
  assert.equal(new Set(first).size, 1)
  const others = [new CounterRandom(1, 3), new CounterRandom(2, 2)].map((other) => other.start(5, 6).uint32())
  const neighbours = [random.start(6, 5).uint32(), random.start(5, 7).uint32(), ...others]
  assert.equal(new Set([random.start(5, 6).uint32(), ...neighbours]).size, 5)
  assert.equal(new Set(random.start(1, 1).distinct(50, 50)).size, 50)
})
