import { collectDefaultMetrics, Counter, Histogram, Registry, type Metric } from 'prom-client'
import { EnergyMeter } from '../base/energy-meter.js'
import { LatencyHistogram } from '../base/latency-histogram.js'
import { harrierVersion } from '../topology/harrier-version.js'
import type { ServedModel } from '../inference/serving/served-model.js'
import type { StageMetrics } from '../topology/stage-metrics.js'
import { energyMetric, httpMetrics, serviceMetrics, streamMetrics, type Labels, type MetricEntry } from './metric-catalogue.js'

export interface MetricSources {
  /** Stages of the engine in this process. */
  readonly stages: () => readonly StageMetrics[]
  readonly models: () => readonly ServedModel[]
}

const durationLimitsMs = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000, 600_000]
const countLimits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]

/** What /metrics says, in the text format of Prometheus. */
export class Metrics {
  readonly registry = new Registry()
  readonly #requests: Counter
  readonly #durations: Histogram

  constructor(sources: MetricSources) {
    const { registry } = this
    collectDefaultMetrics({ register: registry })
    const info: Labels = { version: harrierVersion, node: process.versions.node }
    register(registry, { name: 'harrier_info', type: 'gauge', help: 'Always 1; the labels say what runs', labels: Object.keys(info), samples: () => [{ labels: info, value: 1 }] }, () => [null])
    const energy = new EnergyMeter()
    register(registry, energyMetric, () => [energy.figure()])
    for (const entry of streamMetrics) register(registry, entry, sources.stages)
    for (const entry of serviceMetrics) register(registry, entry, sources.models)
    const { requests, duration } = httpMetrics
    this.#requests = new Counter({ name: requests.name, help: requests.help, labelNames: [...requests.labels], registers: [registry] })
    this.#durations = new Histogram({ name: duration.name, help: duration.help, labelNames: [...duration.labels], buckets: durationLimitsMs.map((ms) => ms / 1000), registers: [registry] })
  }

  /** `route`: its pattern, so that the number of series is that of the routes. */
  answered(method: string, route: string, status: number, durationMs: number): void {
    this.#requests.inc({ method, route, status: String(status) })
    this.#durations.observe({ method, route }, durationMs / 1000)
  }

  get contentType(): string {
    return this.registry.contentType
  }

  text(): Promise<string> {
    return this.registry.metrics()
  }
}

interface Value {
  readonly value: number
  readonly labels: Labels
  readonly metricName?: string
}

/** prom-client asks a metric for its values; that it counts them itself is not needed. */
function register<T>(registry: Registry, entry: MetricEntry<T>, sources: () => readonly T[]): void {
  const { name, help, type } = entry
  const get = (): Promise<unknown> => {
    const values = sources().flatMap((source) => entry.samples(source)).flatMap(({ labels, value }): Value[] => (value instanceof LatencyHistogram ? histogramValues(name, labels, value) : [{ value, labels }]))
    return Promise.resolve({ name, help, type, aggregator: 'sum', values })
  }
  registry.registerMetric({ name, help, type, aggregator: 'sum', get, reset: () => undefined } as unknown as Metric)
}

function histogramValues(name: string, labels: Labels, histogram: LatencyHistogram): Value[] {
  const isTime = name.endsWith('_seconds')
  const limits = isTime ? durationLimitsMs : countLimits
  const unit = isTime ? 1000 : 1
  const counts = histogram.countsUpTo(limits)
  return [
    ...limits.map((limit, index) => ({ metricName: `${name}_bucket`, labels: { ...labels, le: String(limit / unit) }, value: counts[index]! })),
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: histogram.count },
    { metricName: `${name}_sum`, labels, value: histogram.sumMs / unit },
    { metricName: `${name}_count`, labels, value: histogram.count },
  ]
}
