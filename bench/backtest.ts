import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peerModels, peerWindowJob } from './bench-topology.js'
import { median, runHarrier } from './meter.js'
import { rawOnnxRowsPerSecond } from './raw-onnx.js'

const rawSeconds = 4
/** Rows of a raw run: those of a run in the backtest. */
const rawBatch = 256
/** The first weeks of the data are enough for the peers' window GRU, which takes six times as long a window; its fields have other names. */
const peerJob = ['--topology', peerWindowJob, '--model-folder', peerModels, '--until', '2018-05-25', '--column', 'card=customer_id', '--column', 'amount=amount_cents', '--column', 'terminal=terminal_id']
/** The models of both stages, and the day from which their figures count: the last two months of the published data. */
const bothStages = ['--topology', 'card-terminal', '--models', 'card-terminal@1,terminal-row@1', '--since', '2018-08-08']

export interface BacktestBenchOptions {
  /** A table of payments; default: the published data set, drawn anew. */
  readonly from: string | undefined
  /** Window models of card-fraud, or of the job in bench/peers. */
  readonly models: readonly string[]
  readonly repeats: number
  readonly onStep: (text: string) => void
}

export interface ModelRuns {
  readonly model: string
  readonly events: number
  /** Windows a second of onnxruntime on one core, while nobody else has work. */
  readonly rawPerSecond: readonly number[]
  readonly eventsPerSecond: readonly number[]
  /** Of the raw rate: median of the pairs. */
  readonly share: number
}

export interface BacktestBenchResult {
  readonly models: readonly ModelRuns[]
  /** Both stages of card-terminal, start to report. */
  readonly bothStagesSeconds: readonly number[]
}

interface Summary {
  readonly seconds: number
  readonly secondsScoring: number
  readonly figures: { readonly events: number }
}

/** Backtests of one stage in turns with raw onnxruntime, and of both stages; needs no broker. */
export async function benchBacktest({ from, models, repeats, onStep }: BacktestBenchOptions): Promise<BacktestBenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-bench-backtest-'))
  try {
    const table = from ?? join(folder, 'payments.parquet')
    if (from === undefined) {
      onStep('drawing the published data set')
      await runHarrier(['simulate', '--to', 'parquet', '--out', table])
    }
    const backtest = async (args: readonly string[]): Promise<Summary> => {
      await runHarrier(['backtest', ...args, '--from', table, '--out', join(folder, 'report')])
      return JSON.parse(readFileSync(join(folder, 'report', 'summary.json'), 'utf8')) as Summary
    }
    const events = models.map(() => 0)
    const raw = models.map((): number[] => [])
    const scored = models.map((): number[] => [])
    const seconds: number[] = []
    for (let repeat = 1; repeat <= repeats; repeat++) {
      for (const [index, model] of models.entries()) {
        onStep(`${repeat} of ${repeats}: ${model}, raw and in a backtest`)
        const isPeer = model.startsWith('peer-')
        raw[index]!.push(await rawOnnxRowsPerSecond(model, rawBatch, rawSeconds, isPeer ? peerModels : undefined))
        const { figures, secondsScoring } = await backtest([...(isPeer ? peerJob : ['--topology', 'card-fraud']), '--models', model])
        events[index] = figures.events
        scored[index]!.push(figures.events / secondsScoring)
      }
      onStep(`${repeat} of ${repeats}: both stages of card-terminal`)
      seconds.push((await backtest(bothStages)).seconds)
    }
    return {
      models: models.map((model, index) => ({ model, events: events[index]!, rawPerSecond: raw[index]!, eventsPerSecond: scored[index]!, share: median(scored[index]!.map((rate, pair) => rate / raw[index]![pair]!)) })),
      bothStagesSeconds: seconds,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
