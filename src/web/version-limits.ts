/** Of versions over HTTP. */
export const versionLimits = {
  /** Bytes of an exported version. */
  packageBytesMax: 512 << 20,
  /** Versions that are registered at once, and comparisons: each has a process of its own. */
  importsMax: 1,
  comparisonsMax: 1,
  importMsMax: 120_000,
  comparisonMsMax: 120_000,
  /** Entries of a ledger in one answer. */
  entriesMax: 1000,
} as const
