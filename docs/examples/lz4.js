// LZ4 for kafkajs, which brings none: `import './lz4.js'` before the first consumer. Reads only.
import kafkajs from 'kafkajs'

/** LZ4 frame format 1.6.3. Checksums are left to Kafka's own. */
function decompress(frame) {
  if (frame.readUInt32LE(0) !== 0x184d2204) throw new Error('not an LZ4 frame')
  const flags = frame[4]
  const checksumBytes = flags & 0x10 ? 4 : 0
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let out = Buffer.alloc(Math.max(1 << 16, frame.length * 4))
  let used = 0
  for (;;) {
    const head = frame.readUInt32LE(at)
    at += 4
    if (head === 0) return out.subarray(0, used)
    const size = head & 0x7fffffff
    // A block is at most 4 MiB when decoded.
    if (used + (4 << 20) > out.length) out = Buffer.concat([out, Buffer.alloc(Math.max(4 << 20, out.length))])
    const block = frame.subarray(at, at + size)
    used = head & 0x80000000 ? used + block.copy(out, used) : decodeBlock(block, out, used)
    at += size + checksumBytes
  }
}

/** Literals, then a copy of what was written before, and again. Returns where the output ends. */
function decodeBlock(block, out, to) {
  for (let at = 0; ; ) {
    const token = block[at++]
    const lengthOf = (short) => {
      let length = short
      if (short === 15) for (let more = 255; more === 255; length += more) more = block[at++]
      return length
    }
    const literals = lengthOf(token >> 4)
    block.copy(out, to, at, at + literals)
    at += literals
    to += literals
    if (at >= block.length) return to
    const distance = block.readUInt16LE(at)
    at += 2
    const end = to + lengthOf(token & 15) + 4
    for (; to < end; to++) out[to] = out[to - distance]
  }
}

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: () => Promise.reject(new Error('this codec only reads')),
  decompress: (frame) => Promise.resolve(decompress(frame)),
})
