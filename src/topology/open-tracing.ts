import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import { BatchTracing, type SpanIds } from './batch-tracing.js'
import { harrierVersion } from './harrier-version.js'
import type { Topology } from './load-topology.js'

export const tracingLimits = {
  /** Spans that wait to be sent; beyond them spans are dropped. */
  spansMax: 4096,
  /** Spans of one request to the collector, and how often one is made. */
  exportSpansMax: 512,
  exportMs: 1000,
  exportMsMax: 10_000,
  /** A collector that does not answer is told of so often. */
  warnMs: 60_000,
} as const

export interface Tracing {
  stage(topology: Pick<Topology, 'name' | 'stageName'>, input: string): BatchTracing
  /** Sends what waits. Never rejects. */
  flush(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Traces by OTLP over HTTP, where OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) names a collector; nothing is
 * loaded where it does not. The other variables of the specification (headers, time-out, service name, sampler) hold as well:
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export async function openTracing({ clock, logger, env = process.env }: { readonly clock: Clock; readonly logger: Logger; readonly env?: Environment }): Promise<Tracing | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_ENDPOINT
  if (endpoint === undefined || endpoint === '' || env.OTEL_SDK_DISABLED === 'true') return undefined
  const [{ diag, DiagLogLevel }, { BasicTracerProvider, BatchSpanProcessor }, { OTLPTraceExporter }, { defaultResource, resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'), import('@opentelemetry/sdk-trace-base'), import('@opentelemetry/exporter-trace-otlp-http'), import('@opentelemetry/resources'),
  ])
  let warnedMs = -Infinity
  const warn = (message: string): void => {
    if (clock.monotonicMs() - warnedMs < tracingLimits.warnMs) return
    warnedMs = clock.monotonicMs()
    logger.log('warn', 'traces are not sent', { cause: message.slice(0, 300) })
  }
  const quiet = (): void => undefined
  diag.setLogger({ error: warn, warn: quiet, info: quiet, debug: quiet, verbose: quiet }, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true })
  const { spansMax, exportSpansMax, exportMs, exportMsMax } = tracingLimits
  const ids: SpanIds = { next: undefined }
  const provider = new BasicTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ 'service.name': env.OTEL_SERVICE_NAME ?? 'harrier', 'service.version': harrierVersion })),
    idGenerator: {
      generateTraceId: () => `${uniqueSuffix()}${uniqueSuffix()}${uniqueSuffix()}${uniqueSuffix()}`,
      generateSpanId: () => ids.next ?? `${uniqueSuffix()}${uniqueSuffix()}`,
    },
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(), { maxQueueSize: spansMax, maxExportBatchSize: exportSpansMax, scheduledDelayMillis: exportMs, exportTimeoutMillis: exportMsMax })],
  })
  const tracer = provider.getTracer('harrier', harrierVersion)
  logger.log('info', 'traces are sent to a collector', { endpoint: new URL(endpoint).origin })
  return {
    stage: ({ name, stageName }, input) => new BatchTracing({ tracer, ids, clock }, { topology: name, stage: stageName, input }),
    flush: () => provider.forceFlush().catch((error: unknown) => warn(messageOf(error))),
  }
}
