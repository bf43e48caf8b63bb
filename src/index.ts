/** What a program that embeds Harrier may use. Everything else may change without notice. */
export { ManualClock, systemClock, type Clock } from './base/clock.js'
export { errorCatalogue, HarrierError, type Consequence, type ErrorCode } from './base/errors.js'
export { createLogger, silentLogger, type Logger } from './base/logger.js'
export type { LineageRecord } from './codec/lineage-codec.js'
export type { Engine } from './topology/engine.js'
export type { EngineStats } from './topology/engine-stats.js'
export { loadTopology, parseTopology, TopologyError, type Topology } from './topology/load-topology.js'
export { topologyNames, type TopologyNames } from './topology/names.js'
export { openEngine, type EngineOptions } from './topology/open-engine.js'
export {
  MemoryRegistry,
  TopologyTestDriver,
  type OpenBatch,
  type TestDriverOptions,
  type TestOutput,
  type TestOutputs,
  type TestRecord,
} from './topology/test-driver.js'
