import avro from 'avsc'

/** avsc's own long misreads below -2^52 and refuses 2^53-1; this one is exact and checks that a number can hold it. */
const exactLong = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => {
    const value = buffer.readBigInt64LE()
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw new Error(`${value} is beyond 2^53-1`)
    return number
  },
  toBuffer: (value: number) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(BigInt(value))
    return buffer
  },
  fromJSON: Number,
  toJSON: Number,
  isValid: Number.isSafeInteger,
  compare: (a: number, b: number) => a - b,
})

/** A type of avsc whose longs are exact. */
export function exactAvroType(schema: object): avro.Type {
  const isLong = (part: unknown): boolean => part === 'long' || (typeof part === 'object' && part !== null && 'type' in part && part.type === 'long')
  return avro.Type.forSchema(schema as avro.Schema, { typeHook: (part) => (isLong(part) ? exactLong : undefined) })
}
