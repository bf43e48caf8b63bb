import type { AlertRow, DemoState } from '../../../src/cli/view/demo-state.js'

const firstAlertMs = Date.UTC(2018, 4, 2, 10, 0, 0)

function alertRow(index: number): AlertRow {
  return {
    eventTimeMs: firstAlertMs + index * 61_000,
    card: String(4000 + index * 7),
    amountMinor: 4_235 + index * 1_999,
    score: 0.5 + (index % 10) * 0.0499,
    decision: index % 10 >= 8 ? 'DECLINE' : 'REVIEW',
    model: 'card-gru@1',
    isFraud: index % 4 !== 0,
    why: index % 3 === 0 ? 'card-row@1' : `amount ${(4_235 + index * 1_999) / 100}`,
  }
}

/** A state as it is some seconds after the fast-forward. */
export function fixedState(changes: Partial<DemoState> = {}): DemoState {
  return {
    phase: 'live',
    namespace: 'demo-20261123-201530-4f2a',
    topology: 'card-fraud',
    elapsedMs: 42_500,
    historyEvents: 288_062,
    historyDays: 30,
    eventTimeMs: Date.UTC(2018, 4, 2, 10, 49, 7),
    produced: 301_918,
    scored: 301_901,
    deadLetters: 2,
    waiting: 15,
    missing: 0,
    duplicates: 0,
    unexpected: 0,
    perSecond: [...Array.from({ length: 12 }, (_, second) => second * 2_500), ...Array.from({ length: 60 }, (_, second) => 500 + (second % 3))],
    delayMs: { p50: 7.94, p99: 31.2 },
    kills: 1,
    engine: { state: 'running', upMs: 12_345 },
    models: [
      { model: 'card-gru@1', role: 'champion', share: 1, device: 'cpu', deviceNote: null, fileBytes: 75_136, openedBytes: 4_000_000 },
      { model: 'card-attention@1', role: 'shadow', share: 1, device: 'webgpu', deviceNote: null, fileBytes: 75_136, openedBytes: 4_000_000 },
      { model: 'card-cnn@1', role: 'shadow', share: 1, device: 'cpu', deviceNote: null, fileBytes: 75_136, openedBytes: 4_000_000 },
      { model: 'card-row@1', role: 'shadow', share: 1, device: 'cpu', deviceNote: null, fileBytes: 75_136, openedBytes: 4_000_000 },
    ],
    tasks: [0, 1, 2, 3].map((partition) => ({
      task: `card-fraud/customer/${partition}`,
      sequence: partition === 3 ? -1 : 1_204 + partition,
      position: partition === 3 ? -1 : 75_233 + partition * 911,
      streamTimeMs: 0,
      tailRecords: 0,
    })),
    frauds: [103, 1_201, 553],
    fraudsCaught: [103, 4, 550],
    fraudsDeclined: 512,
    alerts: 681,
    falseAlerts: 24,
    alertRows: Array.from({ length: 40 }, (_, index) => alertRow(index)),
    ...changes,
  }
}
