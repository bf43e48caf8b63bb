import type { KeyObject } from 'node:crypto'
import type { AccessControl } from '../access/access-control.js'
import type { AuditTrail } from '../access/audit-trail.js'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { DevicePolicy } from '../inference/device.js'
import type { ModelHost } from '../inference/serving/model-host.js'
import type { ModelShelf } from '../registry/model-shelf.js'
import type { EngineState, EngineStats } from '../topology/engine-stats.js'
import type { StageMetrics } from '../topology/stage-metrics.js'
import type { ScoreGateway } from '../topology/score-gateway.js'
import type { RecordDesk } from '../topology/record-desk.js'
import type { StageDesks } from '../topology/stage-desks.js'
import type { StreamWatch } from '../topology/stream-watch.js'
import type { Metrics } from './metrics.js'
import type { ServiceLimits } from './service-limits.js'
import type { TlsIdentity } from './tls-identity.js'

/** An engine as the service sees it. */
export interface EngineView {
  readonly topology: string
  /** What its stages are doing; `running` = partitions assigned, state restored. */
  readonly state: EngineState
  /** What each stage has done. */
  metrics(): readonly StageMetrics[]
  /** The newest statistics, where they are kept. */
  stats?(): EngineStats | undefined
}

/** What routes about versions work with. */
export interface VersionParts {
  readonly shelf: ModelShelf
  /** Where versions of a topology's stages are released; absent where no topology is. */
  readonly desks?: StageDesks | undefined
  /** Whose signature lets an exported version in. */
  readonly trusted: readonly KeyObject[]
  /** Where a version is tried. */
  readonly device: DevicePolicy
  /** Absent where no cluster is. */
  readonly audit?: AuditTrail | undefined
  /** The file that says how to connect, where one does. */
  readonly connectionFile?: string | undefined
}

/** The stream of a topology, for people. */
export interface StreamParts {
  readonly topology: string
  readonly watch: StreamWatch
  readonly desk: RecordDesk
}

/** What the routes work with. They hold no state of their own. */
export interface ServiceParts {
  readonly host: ModelHost
  /** The engine of this process, where there is one. */
  readonly engine?: EngineView | undefined
  /** Scores in the stream; absent where no topology is. */
  readonly gateway?: ScoreGateway | undefined
  /** What a topology does; absent where none is. */
  readonly stream?: StreamParts | undefined
  /** Versions and releases. */
  readonly versions?: VersionParts | undefined
  readonly metrics: Metrics
  /** Who may do what; absent: anybody everything. */
  readonly access?: AccessControl | undefined
  /** Absent: plain HTTP. */
  readonly tls?: TlsIdentity | undefined
  readonly batchDelayMs: number
  readonly limits: ServiceLimits
  readonly clock: Clock
  readonly logger: Logger
}
