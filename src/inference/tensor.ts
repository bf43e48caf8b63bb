import { Tensor as RuntimeTensor } from 'onnxruntime-node'

/**
 * Holds float16 as its bits in a Uint16Array, on every version of Node. With its first tensor the runtime looks whether there
 * is a global Float16Array (Node 24), which its native part (1.30) cannot read: so the first is made without it. Whoever makes
 * tensors takes the class from here.
 */
export const Tensor = ((): typeof RuntimeTensor => {
  const { Float16Array: present } = globalThis as { Float16Array?: unknown }
  if (present === undefined) return RuntimeTensor
  Object.assign(globalThis, { Float16Array: undefined })
  try {
    return new RuntimeTensor('float32', new Float32Array(1), [1]).constructor as typeof RuntimeTensor
  } finally {
    Object.assign(globalThis, { Float16Array: present })
  }
})()
export type TensorType = RuntimeTensor.Type
