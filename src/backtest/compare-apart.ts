import { systemClock } from '../base/clock.js'
import { loadConnectionFile } from '../connection/connection-file.js'
import { answerApart } from '../registry/apart.js'
import { loadTopology, stageOf } from '../topology/load-topology.js'
import { compareLive, type CompareTask } from './compare-live.js'

// A process that compares two models.
answerApart<CompareTask>(({ topology, stage, connection, ...rest }) =>
  compareLive({
    ...rest,
    ...('file' in connection ? loadConnectionFile(connection.file, { clock: systemClock, env: process.env }) : connection),
    topology: stageOf(loadTopology(topology), stage),
    clock: systemClock,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  }),
)
