import { readFileSync } from 'node:fs'

const packageFile = new URL('../../../package.json', import.meta.url)

/** The version of this package, as lineage names it. */
export const harrierVersion = (JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }).version
