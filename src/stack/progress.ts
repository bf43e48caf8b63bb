/**
 * What long work says about itself. A `step` is a line to keep; a `tick` replaces the one before it
 * (a terminal overwrites it, a log may drop it).
 */
export type OnProgress = (text: string, kind: 'step' | 'tick') => void

export const noProgress: OnProgress = () => undefined
