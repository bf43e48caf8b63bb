import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { InferenceSession } from 'onnxruntime-node'
import { HarrierError, messageOf } from '../base/errors.js'
import { readGraph } from './graph.js'
import { parseManifest } from './manifest-schema.js'
import { sha256OfFile } from './loaded-model.js'
import { readOnnxFile, type OnnxFile } from './onnx-file.js'
import { proposeManifest } from './propose-manifest.js'
import type { Categories } from './recodes.js'
import { createSession } from './session.js'

export interface ModelFacts {
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  readonly graph: OnnxFile
  readonly externalData: readonly { readonly file: string; readonly bytes: number; readonly sha256: string }[]
  readonly inputs: readonly InferenceSession.ValueMetadata[]
  readonly outputs: readonly InferenceSession.ValueMetadata[]
  /** A model.yaml to start from. */
  readonly manifest: string
  /** What keeps that manifest from opening the model; null = it does. */
  readonly problem: string | null
}

/** What an ONNX file holds, and a manifest for it. Errors: MODEL_INVALID when it is none, weights beside it are missing, or onnxruntime cannot open it. */
export async function inspectModel(file: string, stage: { features?: readonly string[]; categories?: Categories } = {}): Promise<ModelFacts> {
  const graph = readOnnxFile(file)
  const folder = dirname(resolve(file))
  const externalData = graph.externalFiles.map((name) => {
    const path = join(folder, name)
    if (!existsSync(path)) {
      throw new HarrierError('MODEL_INVALID', `${file} takes weights from ${name}, which does not lie beside it`, { remedy: 'copy the file of weights there, under this name' })
    }
    return { file: name, bytes: statSync(path).size, sha256: sha256OfFile(path) }
  })
  const bytes = statSync(file).size
  const sha256 = sha256OfFile(file)
  const session = await createSession({ path: resolve(file), mapped: true }, basename(file), 'cpu')
  try {
    const { inputMetadata: inputs, outputMetadata: outputs } = session
    const manifest = proposeManifest({ ...nameOf(folder, file), file: basename(file), sha256, externalData, inputs, outputs, graph, ...stage })
    let problem: string | null = null
    try {
      readGraph(session, parseManifest(manifest, 'model.yaml'))
    } catch (error) {
      problem = messageOf(error)
    }
    return { file, bytes, sha256, graph, externalData, inputs, outputs, manifest, problem }
  } finally {
    await session.release()
  }
}


/** Name and version from the folders `<name>/<version>/`, else the name of the file and version 1. */
function nameOf(folder: string, file: string): { name: string; version: string } {
  const clean = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '') || 'model'
  const version = basename(folder)
  return /^[0-9]+$/.test(version) ? { name: clean(basename(dirname(folder))), version } : { name: clean(basename(file).replace(/\.onnx$/, '')), version: '1' }
}
