import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { partFolder } from './library.js'
import { stackVersions } from './limits.js'
import type { StateFolder } from './state-folder.js'

/**
 * The registry's command line. The distribution that Maven has is called "in memory"; it keeps its schemas in H2, and
 * H2 in a file keeps them across restarts. WRITE_DELAY=0: an id that was given out is on disk, even if the process is killed.
 */
export function registryCommand(java: string, folder: StateFolder, port: number): string[] {
  mkdirSync(folder.registryData, { recursive: true })
  const database = join(folder.registryData, 'schemas')
  return [
    java,
    '-Xmx256m',
    '-XX:+UseSerialGC',
    // It answers a few dozen requests: quick to start counts more than quick to run.
    '-XX:TieredStopAtLevel=1',
    '-XX:+ExitOnOutOfMemoryError',
    '-Dquarkus.http.host=127.0.0.1',
    `-Dquarkus.http.port=${port}`,
    `-Dregistry.ui.config.apiUrl=http://127.0.0.1:${port}/apis/registry`,
    `-Dquarkus.datasource.jdbc.url=jdbc:h2:file:${database};WRITE_DELAY=0`,
    '-Dquarkus.datasource.jdbc.initial-size=2',
    '-Dquarkus.datasource.jdbc.min-size=2',
    '-Dquarkus.datasource.jdbc.max-size=10',
    '-Dquarkus.log.level=WARN',
    '-Dquarkus.log.category."io.apicurio".level=WARN',
    '-jar',
    join(partFolder(folder.lib, 'registry'), `apicurio-registry-app-${stackVersions.registry}-runner.jar`),
  ]
}
