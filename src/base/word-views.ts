/** A buffer as words of both sizes. */
export interface WordViews {
  readonly words: Int32Array
  readonly doubles: Float64Array
}

let lastBuffer: ArrayBufferLike | undefined
let lastViews: WordViews | undefined

/** Views of a whole buffer; those of the last one are kept, since thousands of records in a row lie in one arena. */
export function wordViews(buffer: ArrayBufferLike): WordViews {
  if (buffer !== lastBuffer) {
    lastBuffer = buffer
    lastViews = { words: new Int32Array(buffer, 0, buffer.byteLength >>> 2), doubles: new Float64Array(buffer, 0, buffer.byteLength >>> 3) }
  }
  return lastViews!
}
