/** Every wait of the stack has a name here. Times in ms. */
export const stackLimits = {
  /** From start to the first answer of the broker; recovery after a crash with a large log is inside. */
  brokerStartMsMax: 90_000,
  /** From start to the first answer of the registry. */
  registryStartMsMax: 90_000,
  /** Writing the identity of a new log folder (one short JVM). */
  formatMsMax: 60_000,
  /** For a controller to notice that its broker has died (one short JVM). */
  fenceMsMax: 60_000,
  /** After SIGTERM; then SIGKILL. */
  stopGraceMsMax: 15_000,
  /** After SIGKILL; then an error. */
  killMsMax: 5_000,
  /** One question to a broker, a registry, or Docker's engine. */
  answerMsMax: 3_000,
  /** Between two questions while something starts. */
  pollMs: 100,
  /** Maven without a single new byte. */
  fetchIdleMsMax: 180_000,
  /** `docker compose up` and `down`, pulling images included. */
  composeMsMax: 900_000,
  /** Waiting for another `harrier stack` to finish. */
  lockWaitMsMax: 900_000,
  /** Ports tried from the preferred one upwards. */
  portsTriedMax: 400,
  /** Lines of a log shown in an error. */
  logTailLines: 15,
} as const

export const stackVersions = { kafka: '4.3.1', registry: '2.6.13.Final' } as const

/** Oldest Java that Kafka 4 runs on. */
export const javaMajorMin = 17
