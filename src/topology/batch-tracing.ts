import { createHash } from 'node:crypto'
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Span, type SpanContext, type Tracer } from '@opentelemetry/api'
import type { Clock } from '../base/clock.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { Batch, BatchTrace } from './batch.js'

/** Events of a batch that get a span of their own; the traceparent of the others passes unchanged. */
export const tracedEventsMax = 128

/** What the ids of the next span are: the SDK asks for them as the span starts. */
export interface SpanIds {
  next: string | undefined
}

export interface TracingParts {
  readonly tracer: Tracer
  readonly ids: SpanIds
  readonly clock: Clock
}

interface TracedEvent {
  readonly parent: SpanContext
  readonly spanId: string
  readonly partition: number
  readonly offset: number
}

/**
 * Spans of a stage. A batch that holds events whose `traceparent` says that they are sampled is a span, in a trace of its own, with
 * a link to each of them. Each of those events gets a span in its own trace, from poll to commit, with a link to the batch; its outputs
 * carry the id of that span as their parent.
 *
 * 1. The id of an event's span is a digest of where the event stands in the log: a batch that is done again has the same bytes.
 * 2. Spans are made when the transaction has committed: an event has one span, however often its batch was done.
 * 3. Headers keep their lengths: 16 digits change.
 */
export class BatchTracing {
  readonly #parts: TracingParts
  readonly #topology: string
  readonly #stage: string
  readonly #input: string

  constructor(parts: TracingParts, { topology, stage, input }: { readonly topology: string; readonly stage: string; readonly input: string }) {
    this.#parts = parts
    this.#topology = topology
    this.#stage = stage
    this.#input = input
  }

  /** The newest row of these outputs of the batch belongs to a row of its records, and has its headers. */
  event(batch: Batch, outputs: RecordColumns, row: number): void {
    const { records } = batch
    const at = traceparentAt(outputs, outputs.count - 1)
    if (at < 0) return
    const pending = (batch.trace ??= new PendingTrace(this, batch)) as PendingTrace
    const offset = records.offset[row]!
    const partition = records.partition[row]!
    let event = pending.events.at(-1)
    // an alert follows its scored event
    if (event?.offset !== offset || event.partition !== partition) {
      if (pending.events.length >= tracedEventsMax) return
      const text = Buffer.from(outputs.arena.bytes.subarray(at, at + traceparentBytes)).toString('latin1')
      const [, traceId, spanId] = text.split('-') as [string, string, string]
      const digest = createHash('sha256').update(`${text}\n${this.#input}\n${partition}\n${offset}\n${this.#stage}`).digest('hex').slice(0, 16)
      event = { parent: { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true }, spanId: digest, partition, offset }
      pending.events.push(event)
    }
    for (let i = 0; i < 16; i++) outputs.arena.bytes[at + spanIdAt + i] = event.spanId.charCodeAt(i)
  }

  /** The spans of a batch that has come to its end. Without events: of one that was aborted. */
  emit({ events, batch }: Pick<PendingTrace, 'events' | 'batch'>, committed: boolean): void {
    const { tracer, ids, clock } = this.#parts
    const endTime = clock.nowMs()
    const startTime = endTime - Math.max(0, clock.monotonicMs() - batch.polledAtMs)
    const common = { 'messaging.system': 'kafka', 'messaging.destination.name': this.#input, 'harrier.topology': this.#topology, 'harrier.stage': this.#stage }
    const span = tracer.startSpan(`process ${this.#input}`, {
      kind: SpanKind.CONSUMER, root: true, startTime, links: events.map(({ parent }) => ({ context: parent })),
      attributes: { ...common, 'messaging.operation.type': 'process', 'messaging.batch.message_count': batch.polled, 'harrier.scored': batch.parts.reduce((sum, part) => sum + part.scored, 0) },
    })
    if (committed) for (const event of events) this.#emitEvent(event, span, { startTime, endTime, common })
    else span.setStatus({ code: SpanStatusCode.ERROR, message: 'the transaction was aborted; its records are processed again' })
    ids.next = undefined
    span.end(endTime)
  }

  #emitEvent({ parent, spanId, partition, offset }: TracedEvent, batch: Span, { startTime, endTime, common }: { startTime: number; endTime: number; common: Readonly<Record<string, string>> }): void {
    const { tracer, ids } = this.#parts
    ids.next = spanId
    const options = {
      kind: SpanKind.CONSUMER, startTime, links: [{ context: batch.spanContext() }],
      attributes: { ...common, 'messaging.destination.partition.id': String(partition), 'messaging.kafka.offset': offset },
    }
    tracer.startSpan(`score ${this.#topology}`, options, trace.setSpanContext(ROOT_CONTEXT, parent)).end(endTime)
  }
}

class PendingTrace implements BatchTrace {
  readonly batch: Batch
  readonly events: TracedEvent[] = []
  readonly #tracing: BatchTracing

  constructor(tracing: BatchTracing, batch: Batch) {
    this.#tracing = tracing
    this.batch = batch
  }

  end(committed: boolean): void {
    this.#tracing.emit(this, committed)
  }
}

/** `00-<32 digits>-<16 digits>-<2 digits>`: https://www.w3.org/TR/trace-context/ */
const traceparentBytes = 55
const spanIdAt = 36
const form = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const headerName = Buffer.from('traceparent')

/** Where the value of a sampled traceparent begins in the arena; -1: there is none. */
function traceparentAt({ arena, headersAt, headersBytes }: RecordColumns, row: number): number {
  const { bytes, view } = arena
  let at = headersAt[row]!
  for (const end = at + headersBytes[row]!; at < end; ) {
    const nameBytes = view.getUint16(at)
    const valueBytes = Math.max(0, view.getInt32(at + 2))
    const valueAt = at + 6 + nameBytes
    if (nameBytes === headerName.length && valueBytes === traceparentBytes && headerName.equals(bytes.subarray(at + 6, valueAt))) {
      const text = Buffer.from(bytes.subarray(valueAt, valueAt + valueBytes)).toString('latin1')
      return form.test(text) && (parseInt(text.slice(-2), 16) & TraceFlags.SAMPLED) !== 0 ? valueAt : -1
    }
    at = valueAt + valueBytes
  }
  return -1
}
