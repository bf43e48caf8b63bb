import type { AvroType, RecordType } from './avro-schema.js'
import { Fault, nestingDepthMax } from './decode-fault.js'

/**
 * Writes the source of code that walks over Avro values it does not need. Invariant of all emitted code: before each
 * fragment `p <= end`; a fragment may look at most `readAheadBytes` bytes behind `end`, and returns a fault before it uses them.
 *
 * Variables of the code: B bytes, p position, end, b a byte, n a length, index or count. Records are skipped by functions,
 * one for each record type, so that recursive schemas end and big ones stay small; `d` counts their depth.
 */
export class AvroSkipEmitter {
  protected lines: string[] = []
  readonly #functions = new Map<RecordType, number>()
  readonly #functionSources: string[] = []
  /** Bytes of fixed size that wait to be skipped in one step. */
  #pendingBytes = 0
  #variables = 0
  /** Inside a skip function a fault is returned as a negative number, as positions are positive. */
  #insideFunction = false

  protected emit(line: string): void {
    this.flush()
    this.lines.push(line)
  }

  protected flush(): void {
    if (this.#pendingBytes === 0) return
    const bytes = this.#pendingBytes
    this.#pendingBytes = 0
    this.lines.push(`p+=${bytes};if(p>end)${this.fail(Fault.truncated)}`)
  }

  protected fail(code: number): string {
    return `return ${this.#insideFunction ? -code : code};`
  }

  protected newVariable(): string {
    return `x${this.#variables++}`
  }

  /** Emits a read of a zig-zag length, count or index into n. One byte nearly always. */
  protected emitCount(): void {
    const sign = this.#insideFunction ? 'p' : '-p'
    this.emit(`b=B[p++];if(b>127){p=H.varint(B,p-1,end);if(p<0)return ${sign};n=H.value}else n=(b>>1)^-(b&1)`)
    this.emit(`if(p>end)${this.fail(Fault.truncated)}`)
  }

  /** Emits a read of the length of bytes that follow; afterwards they lie within the value. */
  protected emitLength(): void {
    this.emitCount()
    this.emit(`if(n<0)${this.fail(Fault.malformed)}if(n>end-p)${this.fail(Fault.truncated)}`)
  }

  protected emitSkip(type: AvroType): void {
    switch (type.kind) {
      case 'null':
        return
      case 'boolean':
        this.#pendingBytes += 1
        return
      case 'float':
        this.#pendingBytes += 4
        return
      case 'double':
        this.#pendingBytes += 8
        return
      case 'fixed':
        this.#pendingBytes += type.size
        return
      case 'int':
      case 'long':
        this.emit(`n=p;while(B[p++]>127&&p-n<10);if(p>end)${this.fail(Fault.truncated)}if(B[p-1]>127)${this.fail(Fault.malformed)}`)
        return
      case 'enum':
        this.emitCount()
        this.emit(`if(n<0||n>=${type.symbols.length})${this.fail(Fault.malformed)}`)
        return
      case 'bytes':
      case 'string':
        this.emitLength()
        this.emit('p+=n')
        return
      case 'array':
        this.#emitSkipBlocks(type.items, false)
        return
      case 'map':
        this.#emitSkipBlocks(type.items, true)
        return
      case 'union':
        this.emitUnion(type.branches, (branch) => this.emitSkip(branch))
        return
      case 'record': {
        const number = this.#functionFor(type)
        const depth = this.#insideFunction ? 'd+1' : '1'
        this.emit(`p=s${number}(B,p,end,${depth});if(p<0)return ${this.#insideFunction ? 'p' : '-p'}`)
        return
      }
    }
  }

  protected emitUnion(branches: readonly AvroType[], emitBranch: (branch: AvroType) => void): void {
    this.emitCount()
    this.emit('switch(n){')
    branches.forEach((branch, index) => {
      this.emit(`case ${index}:{`)
      emitBranch(branch)
      this.emit('break}')
    })
    this.emit(`default:${this.fail(Fault.malformed)}}`)
  }

  /** Blocks of an array or map; a block with its size in bytes is jumped over. */
  #emitSkipBlocks(items: AvroType, isMap: boolean): void {
    this.emit('for(;;){')
    this.emitCount()
    this.emit('if(n===0)break')
    const count = this.newVariable()
    this.emit(`let ${count}=n;if(n<0){`)
    this.emitLength()
    this.emit('p+=n;continue}')
    if (isMap || !isZeroSize(items, new Set())) {
      this.emit(`if(${count}>end-p)${this.fail(Fault.truncated)}for(;${count}>0;${count}--){`)
      if (isMap) this.emitSkip({ kind: 'string' })
      this.emitSkip(items)
      this.emit('}')
    }
    this.emit('}')
  }

  #functionFor(type: RecordType): number {
    const known = this.#functions.get(type)
    if (known !== undefined) return known
    const number = this.#functions.size
    this.#functions.set(type, number)
    this.flush()
    const { lines } = this
    const wasInside = this.#insideFunction
    this.lines = []
    this.#insideFunction = true
    for (const field of type.fields) this.emitSkip(field.type)
    this.flush()
    const body = this.lines.join('\n')
    this.lines = lines
    this.#insideFunction = wasInside
    this.#functionSources.push(`function s${number}(B,p,end,d){let b=0,n=0;if(d>${nestingDepthMax})return ${-Fault.tooDeep}\n${body}\nreturn p}`)
    return number
  }

  protected functionSources(): string {
    return this.#functionSources.join('\n')
  }
}

/** Whether values of a type have no bytes: a block of them may claim any count. */
export function isZeroSize(type: AvroType, visiting: Set<AvroType>): boolean {
  if (type.kind === 'null') return true
  if (type.kind === 'fixed') return type.size === 0
  if (type.kind !== 'record') return false
  if (visiting.has(type)) return true
  visiting.add(type)
  return type.fields.every((field) => isZeroSize(field.type, visiting))
}
