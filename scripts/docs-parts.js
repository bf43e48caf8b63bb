// The generated parts of the documentation, by name. Each is a function that returns Markdown.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { parse } from 'yaml'
import { errorCatalogue } from '../dist/src/base/errors.js'
import { addCommands } from '../dist/src/cli/index.js'
import { faultCatalogue } from '../dist/src/codec/decode-fault.js'
import { connectionSchema } from '../dist/src/connection/connection-schema.js'
import { tokenLimits } from '../dist/src/connection/token-source.js'
import { tokenKeeperLimits } from '../dist/src/consumer/oauth-bearer.js'
import { connectLimits } from '../dist/src/consumer/connect-watch.js'
import { adminLimits } from '../dist/src/consumer/admin.js'
import { groupConsumerLimits } from '../dist/src/consumer/group-consumer.js'
import { groupConsumerSettings, producerSettings, rangeReaderSettings, recordProducerSettings } from '../dist/src/consumer/kafka-settings.js'
import { rangeReaderLimits } from '../dist/src/consumer/range-reader.js'
import { followerLimits } from '../dist/src/consumer/topic-follower.js'
import { manifestSchema } from '../dist/src/inference/manifest-schema.js'
import { scorerLimitsDefault } from '../dist/src/inference/scorer.js'
import { queueLimitsDefault } from '../dist/src/inference/serving/request-queue.js'
import { modelHostLimits } from '../dist/src/inference/serving/model-host.js'
import { recordProducerLimits } from '../dist/src/producer/record-producer.js'
import { producerLimits } from '../dist/src/producer/transactional-producer.js'
import { kafkaSinkLimits } from '../dist/src/simulator/kafka-sink.js'
import { stackLimits } from '../dist/src/stack/limits.js'
import { aclCommands } from '../dist/src/topology/acls.js'
import { describeTopology } from '../dist/src/topology/describe.js'
import { loadTopology } from '../dist/src/topology/load-topology.js'
import { topologyNames } from '../dist/src/topology/names.js'
import { outputTopics } from '../dist/src/topology/open-engine.js'
import { recordDeskLimits } from '../dist/src/topology/record-desk.js'
import { streamWatchLimits } from '../dist/src/topology/stream-watch.js'
import { restoreLimits } from '../dist/src/topology/restore.js'
import { scoreGatewayLimits } from '../dist/src/topology/score-gateway.js'
import { claimLimits } from '../dist/src/topology/request-claims.js'
import { publisherLimits } from '../dist/src/producer/output-publisher.js'
import { brokerSearchLimits } from '../dist/src/consumer/native-connection.js'
import { topologySchema } from '../dist/src/topology/topology-schema.js'
import { featureSchema } from '../dist/src/features/feature-spec.js'
import { energyMetric, httpMetrics, serviceMetrics, streamMetrics } from '../dist/src/web/metric-catalogue.js'
import { serviceLimits } from '../dist/src/web/service-limits.js'
import { liveLimits } from '../dist/src/web/live-routes.js'
import { versionLimits } from '../dist/src/web/version-limits.js'
import { featureTable, settingTable } from './docs-schema.js'
import { accountCosts, accountTable, agreementTable, bookTable, calibrationTable, costTable, lossTable, streamOnBookSets, streamOnEveryPayment, visibilityTable } from './docs-results.js'
import { eventTimeExample, featureExample, mistakeExamples } from './docs-examples.js'
import { globSync } from './glob.js'

const root = fileURLToPath(new URL('..', import.meta.url))

/** A Markdown table. */
export function table(head, rows) {
  const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ')
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')
}

const code = (text) => `\`${text}\``

const program = new Command('harrier')
await addCommands(program, undefined)

/** Every command of `harrier`, as commander knows it, by the headings of its help; groups only by their commands. */
export function allCommands() {
  const found = []
  const visit = (command, path, heading) => {
    if (command.commands.length === 0) found.push({ heading, path, command })
    else for (const inner of command.commands) visit(inner, `${path} ${inner.name()}`, heading)
  }
  for (const command of program.commands) visit(command, command.name(), command.helpGroup().replace(/:$/, ''))
  return found
}

function commandTable() {
  const argumentText = ({ registeredArguments }) =>
    registeredArguments.map((argument) => (argument.required ? ` <${argument.name()}>` : ` [${argument.name()}]`)).join('')
  let before = ''
  const rows = allCommands().map(({ heading, path, command }) => {
    const first = heading !== before
    before = heading
    return [first ? heading : '', code(`harrier ${path}${argumentText(command)}`), command.description()]
  })
  return table(['', 'command', 'what it does'], rows)
}

const consequences = {
  retry: 'waits, or tries again',
  'dead-letter': 'the record becomes a dead letter, the stream goes on',
  'restart-task': 'processes the batch again, or ends',
  refuse: 'goes on; the request has changed nothing',
  fatal: 'ends, with exit code 1 or 2',
}

function errorTable() {
  return table(
    ['code', 'what happened', 'the engine', 'what to do'],
    Object.entries(errorCatalogue).map(([name, { summary, consequence, remedy }]) => [`<a id="${name}"></a>${code(name)}`, summary, `${code(consequence)}: ${consequences[consequence]}`, remedy]),
  )
}

function faultTable() {
  const rows = Object.entries(faultCatalogue).filter(([name]) => name !== 'none')
  return table(['message says', 'code'], rows.map(([, { text, code: error }]) => [text, code(error)]))
}

const cardFraud = () => loadTopology('card-fraud')

function topicTable() {
  const names = topologyNames(cardFraud())
  const what = {
    [names.input]: ['read; your events', 'the entity, or anything that keeps an entity in one partition'],
    [names.scored]: ['an Avro scored event for each event', 'as the input'],
    [names.alerts]: ['an Avro alert for each decision that is not APPROVE', 'as the input'],
    [names.deadLetters]: ['original bytes of what could not be scored, and why', 'as the input'],
    [names.lineage]: ['an Avro lineage record for each task and transaction', 'the task'],
    [names.state]: ['changelog: the newest state of each entity, in the format of slot-record.ts', 'the entity'],
    [names.releaseTopics.models]: ['the model versions in force, of all topologies ([releases.md](releases.md))', 'topology/stage'],
    [names.releaseTopics.releases]: ['the ledger: who released what, when and why', 'topology/stage'],
  }
  const config = Object.fromEntries(outputTopics(names, 1).map(({ topic, config: wanted = {} }) => [topic, wanted]))
  const settings = (topic) => (topic === names.input ? 'yours; `retention.ms=-1` when Harrier creates it' : Object.entries(config[topic]).map(([name, value]) => code(`${name}=${value}`)).join(', ') || 'the broker\'s')
  return table(['topic', 'what is in it', 'key', 'settings at creation'], Object.entries(what).map(([topic, [text, key]]) => [code(topic), text, key, settings(topic)]))
}

function kafkaSettings(list) {
  // A later line of the same name wins, as it does in the client.
  const last = new Map(list.map((setting) => [setting.name, setting]))
  return table(['setting', 'value', 'why'], [...last.values()].map(({ name, value, why }) => [code(name), code(value), why]))
}

/** The rights of card-fraud, as `harrier topology describe card-fraud --acls` prints them, without the part about the registry. */
function aclPart() {
  const [run, release, apply] = aclCommands(loadTopology('card-fraud').chain.map((stage) => topologyNames(stage)), [], 'User:harrier').split('\n\n')
  return ['```sh', run, '', release, '', apply, '```'].join('\n')
}

function limitTable(groups) {
  return table(
    ['where', 'limits'],
    Object.entries(groups).map(([file, limits]) => [`[${file}](../src/${file})`, Object.entries(limits).map(([name, value]) => code(`${name} ${value}`)).join(', ')]),
  )
}

const engineLimits = { 'consumer/group-consumer.ts': groupConsumerLimits, 'consumer/range-reader.ts': rangeReaderLimits, 'consumer/topic-follower.ts': followerLimits, 'producer/transactional-producer.ts': producerLimits, 'producer/record-producer.ts': recordProducerLimits, 'producer/output-publisher.ts': publisherLimits, 'topology/score-gateway.ts': scoreGatewayLimits, 'topology/request-claims.ts': claimLimits, 'simulator/kafka-sink.ts': kafkaSinkLimits, 'consumer/admin.ts': adminLimits, 'consumer/connect-watch.ts': connectLimits, 'consumer/native-connection.ts': brokerSearchLimits, 'consumer/oauth-bearer.ts': tokenKeeperLimits, 'connection/token-source.ts': tokenLimits, 'topology/restore.ts': restoreLimits, 'inference/scorer.ts': scorerLimitsDefault, 'stack/limits.ts': stackLimits }
const httpLimits = { 'web/service-limits.ts': serviceLimits, 'web/version-limits.ts': versionLimits, 'inference/serving/request-queue.ts': queueLimitsDefault, 'inference/serving/model-host.ts': modelHostLimits }

function metricTable() {
  const entries = [...streamMetrics, energyMetric, ...serviceMetrics, ...Object.values(httpMetrics)]
  return table(['metric', 'type', 'labels', 'what'], entries.map(({ name, type, labels, help }) => [code(name), type, labels.map(code).join(', '), help]))
}

/** Of the models that score payments. */
function modelManifests() {
  return globSync(`${root}models`, /model\.yaml$/).map((file) => parse(readFileSync(file, 'utf8'))).filter(({ metrics }) => metrics.heldOut.stream)
}

function modelTable() {
  return table(
    ['model', 'kind', 'parameters', 'held-out payments', 'frauds', 'AUC ROC', 'average precision', 'card precision@100'],
    modelManifests().map(({ name, version, kind, training, metrics }) => {
      const { rows, frauds, aucRoc, averagePrecision, cardPrecision100 } = metrics.heldOut.stream
      return [code(`${name}@${version}`), kind, training.parameters, rows.toLocaleString('en'), frauds.toLocaleString('en'), aucRoc, averagePrecision, cardPrecision100]
    }),
  )
}

function thresholdTable() {
  const percent = (share) => `${(share * 100).toFixed(1)} %`
  return table(
    ['model', 'threshold', 'alerts a day', 'of them fraud', 'frauds found', 'scenario 1', 'scenario 2', 'scenario 3'],
    modelManifests().flatMap(({ name, version, metrics }) =>
      Object.entries(metrics.thresholds).map(([which, { threshold, alertsADay, precision, recall, recallScenario1, recallScenario2, recallScenario3 }]) => [
        code(`${name}@${version}`), `${which} ${threshold}`, alertsADay, percent(precision), percent(recall), percent(recallScenario1), percent(recallScenario2), percent(recallScenario3),
      ]),
    ),
  )
}

const file = (path, language) => () => `\`\`\`${language}\n${readFileSync(`${root}${path}`, 'utf8').trimEnd()}\n\`\`\``

export const parts = {
  commands: commandTable,
  'subscribe-js': file('docs/examples/subscribe.js', 'js'),
  'test-topology': file('docs/examples/test-topology.js', 'js'),
  'subscribe-py': file('docs/examples/subscribe.py', 'python'),
  errors: errorTable,
  faults: faultTable,
  'connection-settings': () => settingTable(connectionSchema, table),
  acls: aclPart,
  'topology-settings': () => settingTable(topologySchema, table),
  'model-settings': () => settingTable(manifestSchema, table),
  features: () => featureTable(featureSchema, table),
  'feature-example': () => featureExample(table),
  'event-time-example': () => eventTimeExample(table),
  mistakes: () => mistakeExamples(table),
  'topology-drawing': () => `\`\`\`mermaid\n${describeTopology(cardFraud(), { mermaid: true }).trimEnd()}\n\`\`\``,
  topics: topicTable,
  'consumer-settings': () => kafkaSettings(groupConsumerSettings),
  'reader-settings': () => kafkaSettings(rangeReaderSettings),
  'producer-settings': () => kafkaSettings(producerSettings),
  'record-producer-settings': () => kafkaSettings(recordProducerSettings.filter((setting) => !producerSettings.includes(setting))),
  limits: () => limitTable(engineLimits),
  'service-limits': () => limitTable(httpLimits),
  'page-limits': () => limitTable({ 'topology/stream-watch.ts': streamWatchLimits, 'topology/record-desk.ts': recordDeskLimits, 'web/live-routes.ts': liveLimits }),
  metrics: metricTable,
  'infer-py': file('docs/examples/infer.py', 'python'),
  models: modelTable,
  thresholds: thresholdTable,
  'book-protocol': () => bookTable(table),
  'stream-book-sets': () => streamOnBookSets(table),
  'stream-every-payment': () => streamOnEveryPayment(table),
  visibility: () => visibilityTable(table),
  'training-cost': () => costTable(table),
  agreement: () => agreementTable(table),
  'account-risk': () => accountTable(table),
  'account-calibration': () => calibrationTable(table),
  'account-loss': () => lossTable(table),
  'account-costs': () => accountCosts(table),
}
