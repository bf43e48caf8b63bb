import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { parser } from '@prometheus-io/lezer-promql'
import { parse } from 'yaml'
import { LatencyHistogram } from '../../src/base/latency-histogram.js'
import { silentLogger } from '../../src/base/logger.js'
import { EngineCounters } from '../../src/topology/engine-stats.js'
import type { StageMetrics } from '../../src/topology/stage-metrics.js'
import { httpMetrics, serviceMetrics, streamMetrics } from '../../src/web/metric-catalogue.js'
import { openMetricsService } from '../../src/web/metrics-route.js'
import { Metrics } from '../../src/web/metrics.js'
import { testService, type TestService } from './web-fixture.js'

/** A stage as an engine tells of it, with numbers that are easy to find again. */
function stage(): StageMetrics {
  const counters = new EngineCounters()
  counters.commit.add(7)
  counters.resetDelays()
  for (const ms of [0.5, 3, 30, 30, 700_000]) counters.delay.add(ms)
  const { delay: _d, commit: _c, ...counts } = counters
  return {
    topology: 'card-fraud', stage: 'customer', state: 'running', input: 'transactions', batchesAheadAllowed: 0, deviceClass: 'a', stateBytes: 4096,
    counters: { ...counts, scored: 41, deadLetters: 2 }, histograms: counters.histograms(),
    partitions: [{ partition: 0, lag: 3, entities: 9, dirty: 1, checkpointAgeMs: 1500, tailRecords: 8 }, { partition: 1, lag: 0, entities: 0, dirty: 0, checkpointAgeMs: 0, tailRecords: 0 }],
    standby: { partitions: 0, entities: 0 }, checkpoint: { records: 5, bytes: 500 },
    release: { inForce: 2, refused: false, guardrails: { judged: 3, last: undefined, breaches: { alertRateMax: 1, alertRateTimesMax: 0, scoreShiftMax: 0, errorRateMax: 0, delayMax: 0 } } },
    models: [
      {
        reference: 'card-gru@1', sha256: '', manifestDigest: '', role: 'champion', share: 1, kind: 'recurrent', epoch: 1, device: 'cpu', deviceNote: null, rowsMultiple: 1, fileBytes: 1, openedBytes: 2,
        rows: 41, runs: 4, computeMs: 250, failures: { threw: 1, 'timed-out': 0, 'set-aside': 0, notFinite: 0 },
      },
    ],
    scorer: { frames: 1, rows: 41, queueMs: 1, computeMs: 250, warmedRows: 0, workers: 2, workerRestarts: 0, deviceFallbacks: 0, explained: { events: 0, rows: 0, computeMs: 0 } },
  }
}

/** Names of metrics in an expression, by Prometheus' own grammar; throws where that meets an error. */
function metricsOf(expression: string): string[] {
  // what Grafana puts in
  const text = expression.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, 'x')
  const names: string[] = []
  parser.parse(text).iterate({
    enter(node) {
      assert.ok(!node.type.isError, `${expression}: an error at ${node.from}, before "${text.slice(node.from)}"`)
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') names.push(text.slice(node.from, node.to))
    },
  })
  return names
}

describe('metrics', () => {
  let service: TestService
  let text = ''
  /** Series as text, by name with labels. */
  const series = new Map<string, number>()

  before(async () => {
    service = await testService({ parts: { engine: { topology: 'card-fraud', state: 'running', metrics: () => [stage()] } } })
    await service.app.inject({ method: 'POST', url: '/predict', payload: { input: Array<number>(14).fill(1) } })
    await service.app.inject({ method: 'POST', url: '/v2/models/card-row/infer', payload: { inputs: [] } })
    await service.app.inject('/etc/passwd?key=secret')
    const answer = await service.app.inject('/metrics')
    assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/)
    text = answer.body
    for (const line of text.split('\n').filter((each) => each !== '' && !each.startsWith('#'))) {
      const [, name, value] = /^(\S+|[a-z_]+\{.*\}) (\S+)$/.exec(line)!
      assert.ok(!series.has(name!), `${name} is there once`)
      series.set(name!, Number(value))
    }
  })
  after(() => service.close())

  it('tell of the stream by stage, partition and model', () => {
    const at = 'topology="card-fraud",stage="customer"'
    for (const [name, value] of [
      [`harrier_scored_total{${at}}`, 41],
      [`harrier_dead_letters_total{${at}}`, 2],
      [`harrier_stage_state{${at},state="running"}`, 1],
      [`harrier_stage_state{${at},state="restoring"}`, 0],
      [`harrier_consumer_lag_records{${at},topic="transactions",partition="0"}`, 3],
      [`harrier_checkpoint_age_seconds{${at},topic="transactions",partition="0"}`, 1.5],
      [`harrier_model_compute_seconds_total{${at},model="card-gru",version="1",role="champion",device="cpu"}`, 0.25],
      [`harrier_model_failures_total{${at},model="card-gru",version="1",role="champion",device="cpu",reason="threw"}`, 1],
      [`harrier_commit_seconds_count{${at}}`, 1],
      [`harrier_delay_seconds_bucket{${at},le="0.001"}`, 1],
      [`harrier_delay_seconds_bucket{${at},le="0.025"}`, 2],
      [`harrier_delay_seconds_bucket{${at},le="0.05"}`, 4],
      [`harrier_delay_seconds_bucket{${at},le="600"}`, 4],
      [`harrier_delay_seconds_bucket{${at},le="+Inf"}`, 5],
    ] as const) assert.equal(series.get(name), value, name)
    assert.ok(Math.abs(series.get(`harrier_delay_seconds_sum{${at}}`)! - 700.0635) < 1e-6)
  })

  it('tell of the service by model version and device, failures by why, queue and compute apart', () => {
    const at = 'model="card-row",version="1",device="cpu"'
    assert.equal(series.get(`harrier_infer_requests_total{${at}}`), 1)
    assert.equal(series.get(`harrier_infer_failures_total{${at},reason="invalid"}`), 1)
    assert.equal(series.get(`harrier_infer_queue_seconds_count{${at}}`), 1)
    assert.equal(series.get(`harrier_infer_compute_seconds_count{${at}}`), 1)
    assert.equal(series.get(`harrier_infer_batch_rows_bucket{${at},le="1"}`), 1)
    assert.equal(series.get(`harrier_infer_ready{${at}}`), 1)
  })

  it('name routes by their pattern, so that no path of a caller becomes a series', () => {
    assert.equal(series.get('harrier_http_requests_total{method="POST",route="/v2/models/:model/infer",status="400"}'), 1)
    assert.equal(series.get('harrier_http_requests_total{method="GET",route="(none)",status="404"}'), 1)
    assert.doesNotMatch(text, /passwd|secret/)
  })

  it('each say what they are', () => {
    for (const { name, type, help } of [...streamMetrics, ...serviceMetrics, ...Object.values(httpMetrics)]) {
      assert.ok(text.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`), name)
      assert.match(name, type === 'counter' ? /_total$/ : /(?<!_total)$/, name)
    }
  })

  it('count to the limits of histograms within the 5 % of a bucket', () => {
    const histogram = new LatencyHistogram()
    for (let ms = 1; ms <= 1000; ms++) histogram.add(ms)
    for (const [index, count] of histogram.countsUpTo([10, 100, 500, 1000]).entries()) assert.ok(Math.abs(count - [10, 100, 500, 1000][index]!) <= 0.06 * count + 1, `${index}: ${count}`)
  })

  it('are used by dashboard and alert rules, which parse as PromQL and name nothing that is not there', () => {
    const names = new Set(text.split('\n').flatMap((line) => /^([a-z_]+)[{ ]/.exec(line)?.[1] ?? []))
    const used = new Set<string>()
    const check = (expression: string): void => {
      const found = metricsOf(expression)
      assert.ok(found.length > 0, expression)
      for (const name of found) assert.ok(names.has(name), `${expression}: there is no metric ${name}`)
      for (const name of found) used.add(name.replace(/_(bucket|sum|count)$/, ''))
    }
    const dashboard = JSON.parse(readFileSync('monitoring/grafana-dashboard.json', 'utf8')) as {
      panels: { id: number; gridPos: { w: number; x: number }; targets?: { expr: string }[] }[]
      templating: { list: { query: string }[] }
    }
    for (const { gridPos, targets } of dashboard.panels) {
      assert.ok(gridPos.x + gridPos.w <= 24)
      for (const { expr } of targets ?? []) check(expr)
    }
    assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    for (const { query } of dashboard.templating.list) if (query.startsWith('label_values')) assert.ok(names.has(/\((\w+),/.exec(query)![1]!), query)
    const rules = parse(readFileSync('monitoring/alerts.yaml', 'utf8')) as {
      groups: { rules: { alert: string; expr: string; labels: { severity: string }; annotations: { summary: string; description: string } }[] }[]
    }
    for (const { alert, expr, labels, annotations } of rules.groups.flatMap((group) => group.rules)) {
      check(expr)
      assert.match(alert, /^Harrier[A-Z]/)
      assert.ok(['page', 'ticket'].includes(labels.severity) && annotations.summary && annotations.description, alert)
    }
    assert.ok(used.size >= 25, `metrics that are looked at: ${used.size}`)
    assert.throws(() => metricsOf('sum by (x (rate(harrier_info[5m]))'), 'the parser finds errors')
  })

  it('come with health alone on a port of their own', async () => {
    const metrics = new Metrics({ stages: () => [stage()], models: () => [] })
    const only = await openMetricsService({ metrics, health: { engine: { topology: 'card-fraud', state: 'restoring', metrics: () => [] } }, logger: silentLogger }, { host: '127.0.0.1', port: 0 })
    try {
      assert.match(await (await fetch(`${only.url}/metrics`)).text(), /harrier_scored_total\{/)
      assert.deepEqual([(await fetch(`${only.url}/healthz`)).status, (await fetch(`${only.url}/readyz`)).status, (await fetch(`${only.url}/v2`)).status], [200, 503, 404])
    } finally {
      await only.close()
    }
  })
})
