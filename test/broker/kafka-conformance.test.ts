import { kafkaAdapters } from './kafka-adapters.js'
import { kafkaConformance } from './kafka-conformance.js'
import { startTestStack } from './test-stack.js'

for (const adapters of Object.values(kafkaAdapters)) kafkaConformance(adapters, () => startTestStack({ registry: false }))
