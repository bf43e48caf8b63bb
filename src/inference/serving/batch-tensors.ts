import { HarrierError } from '../../base/errors.js'
import type { OpenedModel } from './serving-protocol.js'
import { batchAxisOf, batchLayout, clipped, elementsOf, holderOf, putRows, takeRows, type TensorValue } from './tensor-value.js'

const invalid = (message: string, remedy?: string): never => {
  throw new HarrierError('REQUEST_INVALID', message, remedy === undefined ? {} : { remedy })
}

/**
 * Compares the tensors of a request with what a model takes and gives; how many rows it has.
 * Errors: REQUEST_INVALID, naming the tensor, what is wrong and what is wanted.
 */
export function rowsOf({ inputs, outputs, graph }: OpenedModel, reference: string, request: { readonly inputs: readonly TensorValue[]; readonly outputs: readonly string[] | null }): number {
  let rows: number | undefined
  for (const { name, type, shape } of inputs) {
    const given = request.inputs.filter((each) => each.name === name)
    const wanted = `${type} [${shape!.map((size) => size ?? 'rows').join(', ')}]`
    if (given.length === 0) return invalid(`input "${name}" is missing: ${reference} takes ${wanted}`)
    if (given.length > 1) return invalid(`input "${name}" is there ${given.length} times`)
    const { dims, data, type: givenType } = given[0]!
    if (givenType !== type) return invalid(`input "${name}" is ${givenType}: ${reference} takes ${wanted}`)
    if (dims.length !== shape!.length || dims.some((size, axis) => size !== (shape![axis] ?? size))) return invalid(`input "${name}" has shape [${dims.join(', ')}]: ${reference} takes ${wanted}`)
    const axis = shape!.indexOf(null)
    const batch = dims[axis]!
    if (batch < 1) return invalid(`input "${name}" has no rows`)
    if (rows !== undefined && rows !== batch) return invalid(`input "${name}" has ${batch} rows, another has ${rows}`)
    if (data.length !== elementsOf(dims)) return invalid(`input "${name}" has ${data.length} values for shape [${dims.join(', ')}]`)
    rows = batch
  }
  const unknown = request.inputs.find(({ name }) => !inputs.some((each) => each.name === name))
  if (unknown) return invalid(`there is no input "${clipped(unknown.name)}": ${reference} takes ${inputs.map(({ name }) => name).join(', ')}`)
  const unnamed = request.outputs?.find((name) => !outputs.some((each) => each.name === name))
  if (unnamed !== undefined) return invalid(`there is no output "${clipped(unnamed)}": ${reference} gives ${outputs.map(({ name }) => name).join(', ')}`)
  if (graph.fixedBatch !== null && rows! > graph.fixedBatch) return invalid(`${reference} takes at most ${graph.fixedBatch} rows at once, not ${rows}`)
  return rows!
}

/** The tensors of a batch: those of its requests one after the other, in memory of their own. */
export function joinInputs({ inputs }: OpenedModel, parts: readonly { readonly rows: number; readonly inputs: readonly TensorValue[] }[], batch: number): TensorValue[] {
  return inputs.map(({ name, type, shape }) => {
    const axis = shape!.indexOf(null)
    const dims = shape!.map((size) => size ?? batch)
    const layout = batchLayout(dims, axis)
    const data = new (holderOf(type)!)(elementsOf(dims))
    let at = 0
    for (const part of parts) {
      putRows(data, batch, at, part.inputs.find((each) => each.name === name)!.data, part.rows, layout)
      at += part.rows
    }
    return { name, type, dims, data }
  })
}

/** What belongs to one request of a batch: rows [at, at + rows) of the outputs that it asked for. */
export function splitOutputs({ outputs }: OpenedModel, given: readonly TensorValue[], wanted: readonly string[] | null, batch: number, at: number, rows: number): TensorValue[] {
  const chosen = wanted === null ? given : wanted.map((name) => given.find((each) => each.name === name)!)
  return chosen.map(({ name, type, dims, data }) => {
    const axis = batchAxisOf(outputs.find((each) => each.name === name)!, dims, batch)
    return { name, type, dims: dims.map((size, index) => (index === axis ? rows : size)), data: takeRows(data, batch, at, rows, batchLayout(dims, axis)) }
  })
}
