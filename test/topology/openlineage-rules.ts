import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

// What the specification of OpenLineage 2-0-2 asks of a RunEvent and of the facets that Harrier sends (JobType 2-0-4, Schema 1-2-0,
// ErrorMessage 1-0-1, ProcessingEngine 1-1-1, OutputStatistics 1-0-2), written down anew: required fields, their types and formats. The addresses are
// those that the events name, so an event of another version is not taken for one of these.
const spec = 'https://openlineage.io/spec'
const uri = { type: 'string', format: 'uri' }
const text = { type: 'string' }
const facet = (schemaURL: string, properties: object = {}, required: readonly string[] = []): object => ({
  type: 'object', properties: { _producer: uri, _schemaURL: { const: schemaURL }, ...properties }, required: ['_producer', '_schemaURL', ...required],
})
const published = (version: string, name: string): string => `${spec}/facets/${version}/${name}.json#/$defs/${name}`
const fields = { type: 'array', items: { type: 'object', properties: { name: text, type: text, description: text }, required: ['name'] } }
const anyFacet = { type: 'object', properties: { _producer: uri, _schemaURL: uri }, required: ['_producer', '_schemaURL'] }
const dataset = (more: object): object => ({
  type: 'object',
  properties: { namespace: text, name: text, facets: { type: 'object', properties: { schema: facet(published('1-2-0', 'SchemaDatasetFacet'), { fields }) }, additionalProperties: anyFacet }, ...more },
  required: ['namespace', 'name'],
})
const statistics = facet(published('1-0-2', 'OutputStatisticsOutputDatasetFacet'), { rowCount: { type: 'integer' }, size: { type: 'integer' } })

const models = 'urn:harrier:openlineage:models:1'

const rules = {
  type: 'object',
  properties: {
    eventType: { enum: ['START', 'RUNNING', 'COMPLETE', 'ABORT', 'FAIL', 'OTHER'] },
    eventTime: { type: 'string', format: 'date-time' },
    producer: uri,
    schemaURL: { const: `${spec}/2-0-2/OpenLineage.json#/$defs/RunEvent` },
    run: {
      type: 'object',
      properties: {
        runId: { type: 'string', format: 'uuid' },
        facets: {
          type: 'object',
          properties: {
            processing_engine: facet(published('1-1-1', 'ProcessingEngineRunFacet'), { version: text, name: text, openlineageAdapterVersion: text }, ['version']),
            errorMessage: facet(published('1-0-1', 'ErrorMessageRunFacet'), { message: text, programmingLanguage: text, stackTrace: text }, ['message', 'programmingLanguage']),
            harrier_models: { $ref: `${models}#/$defs/ModelsRunFacet` },
          },
          additionalProperties: anyFacet,
        },
      },
      required: ['runId'],
    },
    job: {
      type: 'object',
      properties: {
        namespace: text,
        name: text,
        facets: {
          type: 'object',
          properties: { jobType: facet(published('2-0-4', 'JobTypeJobFacet'), { processingType: text, integration: text, jobType: text }, ['processingType', 'integration']) },
          additionalProperties: anyFacet,
        },
      },
      required: ['namespace', 'name'],
    },
    inputs: { type: 'array', items: dataset({ inputFacets: { type: 'object', additionalProperties: anyFacet } }) },
    outputs: { type: 'array', items: dataset({ outputFacets: { type: 'object', properties: { outputStatistics: statistics }, additionalProperties: anyFacet } }) },
  },
  required: ['eventTime', 'producer', 'schemaURL', 'run', 'job'],
}

/** Checks a RunEvent by the rules of the specification, and its model facet by the schema that it names. */
export function runEventRules(): ValidateFunction {
  const ajv = new Ajv2020({ allErrors: true, formats: {
    uri: (value: string) => /^[a-z][a-z0-9+.-]*:\S+$/i.test(value),
    uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  } })
  ajv.addSchema(JSON.parse(readFileSync(new URL('../../../schemas/openlineage-models-1.json', import.meta.url), 'utf8')) as object)
  return ajv.compile(rules)
}
