import type { Command } from 'commander'
import { loadTopology } from '../topology/load-topology.js'
import { exportSchemas } from '../topology/export-schemas.js'
import { describeTopology } from '../topology/describe.js'

/** `harrier topology check|describe` */
export function register(program: Command): void {
  const topology = program.command('topology').description('check and describe topologies')
  topology
    .command('check')
    .description('check a topology file; every problem with file, line, path and remedy')
    .argument('<topology>', 'a .yaml file, or the name of one in topologies/')
    .action((name: string) => {
      const { file, stage, spec } = loadTopology(name)
      process.stdout.write(`${file}: ok (${Object.keys(spec.source.fields).length} fields, ${stage.features.length} features, ${1 + stage.models.shadows.length} models)\n`)
    })
  topology
    .command('describe')
    .description('what a topology reads, computes, keeps and writes')
    .argument('<topology>', 'a .yaml file, or the name of one in topologies/')
    .option('--mermaid', 'the drawing alone, as Mermaid source')
    .option('--json', 'for machines')
    .option('--namespace <name>', 'prefix of topics, group and ids', '')
    .option('--models <folder>', 'folder of model versions')
    .action((name: string, options: { mermaid?: boolean; json?: boolean; namespace: string; models?: string }) => {
      process.stdout.write(describeTopology(loadTopology(name), options))
    })
  topology
    .command('schemas')
    .description('write the schemas of a topology\'s outputs to files, with the requests that register them')
    .argument('<topology>', 'a .yaml file, or the name of one in topologies/')
    .requiredOption('--out <folder>', 'where the files go')
    .option('--namespace <name>', 'prefix of topics and subjects', '')
    .action((name: string, options: { out: string; namespace: string }) => {
      process.stdout.write(exportSchemas(loadTopology(name), options.namespace, options.out))
    })
}
