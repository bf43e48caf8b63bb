import { onnxruntimeVersion } from '../inference/device-class.js'
import type { ModelHost } from '../inference/serving/model-host.js'
import { priorities, priorityDefault } from '../inference/serving/request-queue.js'
import type { ServedModel } from '../inference/serving/served-model.js'
import type { ServedTensor } from '../inference/serving/tensor-value.js'
import { harrierVersion } from '../topology/harrier-version.js'
import { datatypeOf } from './oip-codec.js'

// The documents of the Open Inference Protocol v2 and of Triton's extensions of it: what is there, and what it has done.

export function serverMetadata(): object {
  return { name: 'harrier', version: harrierVersion, extensions: ['binary_tensor_data', 'model_configuration', 'model_repository', 'statistics'], runtime: `onnxruntime ${onnxruntimeVersion()}` }
}

function tensorMetadata({ name, type, shape }: ServedTensor): object {
  // an output whose shape is known only after a run has its rows first
  return { name, datatype: datatypeOf(type), shape: (shape ?? [null]).map((size) => size ?? -1) }
}

export function modelMetadata(host: ModelHost, { model, opened, fileBytes }: ServedModel): object {
  const { name, version, kind, features, window, description, sha256 } = model.manifest
  return {
    name,
    versions: host.versionsOf(name),
    platform: 'onnxruntime_onnx',
    inputs: opened.inputs.map(tensorMetadata),
    outputs: opened.outputs.map(tensorMetadata),
    // of ours
    version, kind, features, window: window ?? null, description: description ?? '', sha256,
    device: opened.device, device_note: opened.deviceNote, file_bytes: fileBytes, opened_bytes: opened.openedBytes,
  }
}

export function modelConfig({ model, opened, batchRowsMax }: ServedModel, delayMs: number): object {
  const configured = (tensor: ServedTensor): object => ({ name: tensor.name, data_type: `TYPE_${datatypeOf(tensor.type)}`, dims: (tensor.shape ?? [null]).map((size) => size ?? -1) })
  return {
    name: model.manifest.name,
    platform: 'onnxruntime_onnx',
    backend: 'onnxruntime',
    // 0: shapes have the batch in them, as Triton reads this
    max_batch_size: 0,
    input: opened.inputs.map(configured),
    output: opened.outputs.map(configured),
    version_policy: { specific: { versions: [model.manifest.version] } },
    dynamic_batching: { preferred_batch_size: [batchRowsMax], max_queue_delay_microseconds: Math.round(delayMs * 1000), priority_levels: priorities, default_priority_level: priorityDefault },
  }
}

export function modelStats({ model, counters }: ServedModel): object {
  const { requests, rows, batches, failures, queueMs, computeMs, failedMs, lastAtMs } = counters
  const failed = failures.invalid + failures.overloaded + failures.expired + failures.cancelled + failures.model
  const duration = (count: number, ms: number): object => ({ count, ns: Math.round(ms * 1e6) })
  const none = duration(0, 0)
  return {
    name: model.manifest.name,
    version: model.manifest.version,
    last_inference: Math.round(lastAtMs),
    inference_count: rows,
    execution_count: batches,
    inference_stats: {
      success: duration(requests, queueMs + computeMs),
      fail: duration(failed, failedMs),
      queue: duration(requests, queueMs),
      // tensors are put together and taken apart within the time of the run
      compute_input: none,
      compute_infer: duration(requests, computeMs),
      compute_output: none,
      cache_hit: none,
      cache_miss: none,
    },
    batch_stats: counters.batchSizes().map(({ rows: size, count, ms }) => ({ batch_size: size, compute_input: none, compute_infer: duration(count, ms), compute_output: none })),
    failures,
  }
}
