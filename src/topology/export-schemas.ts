import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from './load-topology.js'
import { topologyNames } from './names.js'
import { inputSubject, outputSubjects, releaseSubjects } from './subjects.js'

interface ExportedSchema {
  readonly file: string
  readonly subject: string
  readonly topic: string
  /** What is written into the file. */
  readonly text: string
}

/** The schemas that a topology needs in the registry before it runs, and its models are released, with `schemas.register: false`. */
export function exportedSchemas(topology: Topology, namespace: string): { outputs: ExportedSchema[]; input: string | undefined } {
  const releases = topology.chain.some(({ stage }) => stage.models.champion !== undefined) ? releaseSubjects(topologyNames(topology, namespace)) : []
  const outputs = [...topology.chain.flatMap((stage) => outputSubjects(stage, topologyNames(stage, namespace))), ...releases]
  const files = outputs.map(({ subject, topic, schemaName, schema }) => ({ file: `${schemaName}.avsc`, subject, topic, text: `${JSON.stringify(schema, null, 2)}\n` }))
  // All stages write one lineage topic.
  return { outputs: [...new Map(files.map((each) => [each.file, each])).values()], input: inputSubject(topology, topologyNames(topology, namespace)) }
}

/** Writes each schema, and the body of the request that registers it, into a folder. Returns what to do with them, for a person. */
export function exportSchemas(topology: Topology, namespace: string, folder: string): string {
  const { outputs, input } = exportedSchemas(topology, namespace)
  mkdirSync(folder, { recursive: true })
  const lines: string[] = []
  for (const { file, subject, topic, text } of outputs) {
    const body = file.replace(/\.avsc$/, '.request.json')
    writeFileSync(join(folder, file), text)
    writeFileSync(join(folder, body), `${JSON.stringify({ schema: JSON.stringify(JSON.parse(text)) })}\n`)
    lines.push(
      `${join(folder, file)}  for topic ${topic}`,
      `  curl -X POST -H 'content-type: application/vnd.schemaregistry.v1+json' --data @${join(folder, body)} "$REGISTRY/subjects/${encodeURIComponent(subject)}/versions"`,
    )
  }
  if (input !== undefined) lines.push(`The input's schema is expected under ${input}; it belongs to those who write the topic.`)
  return `${lines.join('\n')}\n`
}
