import { answerApart } from './apart.js'
import { doImport, type ImportTask } from './import-version.js'

// A process that registers one exported version.
answerApart<ImportTask>(doImport)
