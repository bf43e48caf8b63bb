import type { DeviceInUse } from '../device.js'
import type { Graph } from '../graph.js'
import type { ModelToOpen } from '../open-model.js'
import type { ErrorMessage } from '../protocol.js'
import type { ScorerModel } from '../scorer.js'
import type { ServedTensor, TensorValue } from './tensor-value.js'

/**
 * The protocol between the main thread and a thread that serves one model version. Tensors of a batch are transferred, not
 * copied. Each `run` has one answer, `ran` or `failed`, with its id.
 */
export interface ServingInit {
  readonly model: ModelToOpen
}

/** What a thread tells of the model that it has opened. */
export interface OpenedModel extends DeviceInUse, Pick<ScorerModel, 'rowsMultiple' | 'openedBytes'> {
  readonly graph: Graph
  readonly inputs: readonly ServedTensor[]
  readonly outputs: readonly ServedTensor[]
}

export type ToServing =
  | { readonly kind: 'run'; readonly id: number; readonly rows: number; readonly inputs: readonly TensorValue[]; readonly outputs: readonly string[] }
  | { readonly kind: 'close' }

export type FromServing =
  | { readonly kind: 'ready'; readonly opened: OpenedModel }
  | { readonly kind: 'not-ready'; readonly error: ErrorMessage }
  | { readonly kind: 'ran'; readonly id: number; readonly outputs: readonly TensorValue[]; readonly computeMs: number; readonly runs: number }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
