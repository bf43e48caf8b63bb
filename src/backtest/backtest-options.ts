import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { ClusterConnection } from '../connection/security.js'
import type { DevicePolicy } from '../inference/device.js'
import type { Topology } from '../topology/load-topology.js'
import type { Models, Workers } from '../topology/open-scorer.js'

/** What a missed fraud costs: so much each, or a field of the event times a factor. */
export type LossSpec = { readonly each: number } | { readonly field: string; readonly factor: number }

/** Offsets [from, to) of one partition. */
export interface PartitionRange {
  readonly partition: number
  readonly from: number
  readonly to: number
}

export interface BacktestOptions {
  /** The first stage that is folded; its source is `from`. */
  readonly topology: Topology
  /** The same stage of another topology, over the same events. */
  readonly whatIf: { readonly topology: Topology; readonly text: string } | undefined
  /** A .csv or .parquet file, or the name of a topic. */
  readonly from: string
  /** Event times of the measured range, [sinceMs, untilMs); what is before warms the state up. */
  readonly sinceMs: number | undefined
  readonly untilMs: number | undefined
  /** How long before `sinceMs` the warm-up begins; undefined: with the first event. */
  readonly warmUpMs: number | undefined
  /** Of a topic; empty: everything. */
  readonly offsets: readonly PartitionRange[]
  /** The labels topic of a topic's events. */
  readonly labelsFrom: string | undefined
  /** How long after its event a label of a table becomes known, ms. */
  readonly labelDelayMs: number
  readonly columns: Readonly<Record<string, string>>
  readonly epochMs: number
  readonly models: Models
  readonly device: DevicePolicy | undefined
  readonly workers: Workers
  /** Folder of the report. */
  readonly out: string
  readonly reviewCost: number
  readonly loss: LossSpec
  readonly alertsADay: number
  readonly cardsADay: number
  /** The scored topic whose scores are compared with these, and the lineage topic of the same run. */
  readonly compareWith: { readonly scored: string; readonly lineage: string } | undefined
  /** Where topics are read. */
  readonly connections: ClusterConnection | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
  readonly onProgress: (text: string, kind: 'step' | 'tick') => void
}
