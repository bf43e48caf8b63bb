import { AvroContainerEmitter, stepsInto } from './avro-container-emitter.js'
import type { AvroType, RecordType } from './avro-schema.js'
import { fieldRefusal, standInFor, timeUnitMs } from './avro-default.js'
import { eventTimeMsMax, eventTimeMsMin, Fault, packFault } from './decode-fault.js'
import { decimalScaleMax, decimalTextBytesMax, longTextBytesMax, powersOfTen } from './exact-number.js'
import { isText, isTime, zoneMinutesOf, type FieldSpec } from './field-spec.js'
import { fieldsBelow, type PathNode } from './field-paths.js'

const uuidTextBytes = 36
/** 2^27 and 2^55: what the bits of a varint's second and third group are worth once the sign bit is gone. */
const decodeLong = 'v=(lo>>>1)+mid*134217728+hi*36028797018963968;if(lo&1)v=-v-1'
const safe = '(v<=9007199254740991&&v>=-9007199254740991)'

type Source = Exclude<AvroType, { kind: 'union' | 'record' | 'null' }>

/**
 * Writes the source of code that reads the wanted fields of an Avro value into columns and skips the rest.
 * Further variables: N, A, L the columns (numbers, textAt, textBytes), V a view of B, v a number, lo/mid/hi a varint in
 * groups of 28 bits, w where formatted text goes, C constant texts and fields, H helpers.
 */
export class AvroColumnEmitter extends AvroContainerEmitter {
  readonly #fields: readonly FieldSpec[]
  readonly #constants: (Uint8Array | FieldSpec)[] = []
  #textBytesMax = 0

  constructor(fields: readonly FieldSpec[]) {
    super()
    this.#fields = fields
  }

  finish(): { source: string; constants: readonly (Uint8Array | FieldSpec)[]; textBytesMax: number } {
    this.flush()
    const source = `'use strict'
${this.functionSources()}
return function(B,V,p,end,row,N,A,L,arena){
let b=0,n=0,v=0,lo=0,mid=0,hi=0,w=0,m=0,q=0
${this.lines.join('\n')}
return p===end?0:p>end?${Fault.truncated}:${Fault.trailingBytes}}`
    return { source, constants: this.#constants, textBytesMax: this.#textBytesMax }
  }

  /** Reads the root value. Throws an Error when its type can never give all fields. */
  emitRoot(type: AvroType, node: PathNode): void {
    const refusal = this.#refusal(type, node)
    if (refusal !== undefined) throw new Error(refusal)
    this.emitChild(type, node)
  }

  /** What a branch of a union cannot give is a fault of the records that use it, not of the schema. */
  protected emitChild(type: AvroType, node: PathNode): void {
    if (type.kind === 'null') return this.#emitNull(node)
    if (type.kind === 'union') return this.emitUnion(type.branches, (branch) => this.emitChild(branch, node))
    const unfit = this.#unfit(type, node)
    if (unfit !== undefined) this.emit(`return ${packFault(Fault.wrongType, unfit)}`)
    else if (type.kind === 'record') this.#emitRecord(type, node)
    else if (type.kind === 'array') this.emitArray(type.items, node)
    else if (type.kind === 'map') this.emitMap(type.items, node)
    else this.#emitScalar(type, node)
  }

  /** The first field that no value of a type can fill. */
  #unfit(type: Exclude<AvroType, { kind: 'union' | 'null' }>, node: PathNode): number | undefined {
    const child = node.children.find((candidate) => !stepsInto(type, candidate))
    if (child) return this.firstField(child)
    return node.fields.find((index) => !accepts(this.#fields[index]!, type))
  }

  protected firstField(node: PathNode): number {
    return fieldsBelow(node)[0]!
  }

  protected constant(value: Uint8Array | FieldSpec): string {
    return `C[${this.#constants.push(value) - 1}]`
  }

  /** Why no value of a type can fill the fields of a node; undefined when some can. */
  #refusal(type: AvroType, node: PathNode): string | undefined {
    if (type.kind === 'union') {
      const tries = type.branches.filter(({ kind }) => kind !== 'null').map((branch) => this.#refusal(branch, node))
      return tries.length > 0 && tries.every((why) => why !== undefined) ? tries[0] : undefined
    }
    if (type.kind === 'null') return undefined
    for (const index of node.fields) {
      const field = this.#fields[index]!
      if (!accepts(field, type)) return fieldRefusal(field, `cannot be read from ${nameOfType(type)}`)
    }
    for (const child of node.children) {
      if (!stepsInto(type, child)) {
        const wanted = child.index === undefined ? 'a record' : 'an array'
        return fieldRefusal(this.#fields[this.firstField(child)]!, `${node.path === '' ? 'the value' : node.path} is ${nameOfType(type)}, not ${wanted}`)
      }
      if (type.kind === 'array' || type.kind === 'map') {
        const why = this.#refusal(type.items, child)
        if (why !== undefined) return why
      }
      if (type.kind !== 'record') continue
      const field = fieldOf(type, child)
      const why = field ? this.#refusal(field.type, child) : this.#absence(child)
      if (why !== undefined) return why
    }
    return undefined
  }

  #absence(node: PathNode): string | undefined {
    for (const index of fieldsBelow(node)) {
      const field = this.#fields[index]!
      if (standInFor(node, field).kind === 'missing') return `has no field ${node.path} for ${field.name}`
    }
    return undefined
  }

  #emitRecord(type: RecordType, node: PathNode): void {
    for (const field of type.fields) {
      const child = node.children.find((candidate) => fieldOf(type, candidate) === field)
      if (child) this.emitChild(field.type, child)
      else this.emitSkip(field.type)
    }
    for (const child of node.children) if (!fieldOf(type, child)) this.emitStandIns(child)
  }

  #emitNull(node: PathNode): void {
    for (const index of fieldsBelow(node)) {
      if (this.#fields[index]!.optional === true) this.#emitNullField(index)
      else this.emit(`return ${packFault(Fault.nullField, index)}`)
    }
  }

  #emitNullField(index: number): void {
    this.emit(isText(this.#fields[index]!) ? `A[${index}][row]=0;L[${index}][row]=-1` : `N[${index}][row]=NaN`)
  }

  protected emitStandIns(node: PathNode): void {
    for (const index of fieldsBelow(node)) {
      const standIn = standInFor(node, this.#fields[index]!)
      if (standIn.kind === 'missing') this.emit(`return ${packFault(Fault.missingField, index)}`)
      else if (standIn.kind === 'null') this.#emitNullField(index)
      else if (typeof standIn.value === 'number') this.emit(`N[${index}][row]=${literal(standIn.value)}`)
      else {
        const text = Buffer.from(standIn.value)
        this.#emitFormatted(index, `H.copyText(B,${this.constant(text)},w)`, text.length)
      }
    }
  }

  #emitScalar(type: Source, node: PathNode): void {
    switch (type.kind) {
      case 'boolean':
        this.emit(`b=B[p++];if(p>end)return ${Fault.truncated};if(b>1)return ${Fault.malformed}`)
        for (const index of node.fields) this.emit(`N[${index}][row]=b`)
        return
      case 'int':
      case 'long':
        this.#emitVarint()
        this.emit(decodeLong)
        if (type.kind === 'int') this.emit(`if(v>2147483647||v<-2147483648)return ${Fault.malformed}`)
        for (const index of node.fields) this.#emitLong(index, type)
        return
      case 'float':
      case 'double': {
        const size = type.kind === 'float' ? 4 : 8
        const get = type.kind === 'float' ? 'getFloat32' : 'getFloat64'
        this.emit(`if(end-p<${size})return ${Fault.truncated};v=V.${get}(p,true);p+=${size}`)
        for (const index of node.fields) this.#emitDouble(index, type)
        return
      }
      case 'enum':
        this.emitCount()
        this.emit(`if(n<0||n>=${type.symbols.length})return ${Fault.malformed}`)
        for (const index of node.fields) this.#emitSymbol(index, type.symbols)
        return
      case 'string':
      case 'bytes':
      case 'fixed':
        if (type.kind === 'fixed') this.emit(`n=${type.size};if(n>end-p)return ${Fault.truncated}`)
        else this.emitLength()
        for (const index of node.fields) this.#emitBytes(index, type)
        this.emit('p+=n')
        return
      case 'array':
      case 'map':
        throw new Error(`no column can be read from ${type.kind}`)
    }
  }

  /** A varint of up to ten bytes in line: the first group of four bytes is all that most values need. */
  #emitVarint(): void {
    const tenth = `b=B[p++];hi|=(b&127)<<7;if(b>1)return p>end?${Fault.truncated}:${Fault.malformed}`
    const byte = (variable: string, group: number, rest: string): string =>
      `b=B[p++];${variable}${group === 0 ? '=' : '|='}(b&127)${group === 0 ? '' : `<<${group * 7}`};if(b>127){${rest}}`
    let code = byte('hi', 0, tenth)
    for (const variable of ['mid', 'lo']) for (let group = 3; group >= 0; group--) code = byte(variable, group, code)
    this.emit(`mid=0;hi=0;${code}`)
    this.emit(`if(p>end)return ${Fault.truncated}`)
  }

  #emitLong(index: number, type: Source): void {
    const field = this.#fields[index]!
    if (isText(field)) return this.#emitFormatted(index, 'H.longText(B,w,lo,mid,hi)', longTextBytesMax)
    if (field.type === 'number') this.emit(`N[${index}][row]=${safe}?v:H.longNumber(lo,mid,hi)`)
    else if (isTime(field)) {
      const unitMs = timeUnitMs(field, type)
      if (unitMs >= 1) return this.#emitTime(index, unitMs === 1 ? 'v' : `v*${unitMs}`)
      const divisor = Math.round(1 / unitMs)
      return this.#emitTime(index, `${safe}?Math.floor(v/${divisor}):H.longFloorDivide(lo,mid,hi,${divisor})`)
    } else if ((field.scale ?? 0) > 0) {
      // A product within the safe integers is exact, and so was v.
      this.emit(`m=v*${powersOfTen[field.scale!]!};if(m<=9007199254740991&&m>=-9007199254740991)N[${index}][row]=m`)
      this.emit(`else return ${packFault(Fault.integerUnsafe, index)}`)
    } else this.emit(`if(!${safe})return ${packFault(Fault.integerUnsafe, index)};N[${index}][row]=v`)
    this.#emitBounds(index)
  }

  #emitDouble(index: number, type: Source): void {
    const field = this.#fields[index]!
    this.emit(`if(v-v!==0)return ${packFault(Fault.notFinite, index)}`)
    if (isTime(field)) return this.#emitTime(index, `Math.floor(v*${timeUnitMs(field, type)})`)
    if (field.type === 'number') this.emit(`N[${index}][row]=v`)
    else {
      const call = `H.scaleDouble(v,${field.scale ?? 0},${type.kind === 'float'})`
      this.emit(`m=${call};if(m!==0)return m|${packFault(0, index)};N[${index}][row]=H.value`)
    }
    this.#emitBounds(index)
  }

  #emitTime(index: number, value: string): void {
    this.emit(`N[${index}][row]=m=${value};if(!(m>=${eventTimeMsMin}&&m<=${eventTimeMsMax}))return ${packFault(Fault.timeOutOfRange, index)}`)
    this.#emitBounds(index)
  }

  #emitBounds(index: number): void {
    const { min, max } = this.#fields[index]!
    if (min !== undefined) this.emit(`if(N[${index}][row]<${literal(min)})return ${packFault(Fault.belowMin, index)}`)
    if (max !== undefined) this.emit(`if(N[${index}][row]>${literal(max)})return ${packFault(Fault.aboveMax, index)}`)
  }

  #emitSymbol(index: number, symbols: readonly string[]): void {
    const texts = symbols.map((symbol) => Buffer.from(symbol))
    const first = this.#constants.length
    this.#constants.push(...texts)
    this.#emitFormatted(index, `H.copyText(B,C[${first}+n],w)`, Math.max(0, ...texts.map((text) => text.length)))
  }

  /** bytes, fixed and strings of n bytes at p. */
  #emitBytes(index: number, type: Source): void {
    const field = this.#fields[index]!
    if (type.kind === 'string' && !isText(field) && field.type !== 'iso8601') {
      this.emit(`m=H.decimalTextValue(B,p,p+n,${this.constant(field)});N[${index}][row]=H.value;if(m!==0)return m|${packFault(0, index)}`)
      return this.#emitBounds(index)
    }
    if (field.type === 'iso8601') {
      this.emit(`m=H.isoTimeMs(B,p,p+n,${zoneMinutesOf(field)});if(m!==m)return ${packFault(Fault.badTime, index)}`)
      return this.#emitTime(index, 'm')
    }
    const logical = 'logical' in type ? type.logical : undefined
    if (logical?.name === 'decimal') return this.#emitDecimal(index, logical.scale)
    if (type.kind === 'fixed') {
      const uuid = logical?.name === 'uuid' && type.size === 16
      return this.#emitFormatted(index, `H.hexText(B,p,n,w,${uuid})`, uuid ? uuidTextBytes : type.size * 2)
    }
    this.emit(`m=0;for(q=p;q<p+n;q++)m|=B[q];if(m>127&&!H.isUtf8(B,p,p+n))return ${packFault(Fault.badUtf8, index)}`)
    this.emit(`A[${index}][row]=p;L[${index}][row]=n`)
  }

  #emitDecimal(index: number, scale: number): void {
    const field = this.#fields[index]!
    const orFail = `if(m!==0)return m|${packFault(0, index)}`
    if (isText(field)) {
      this.emit(`w=arena.used;m=H.decimalTextAt(B,p,n,${scale},w);${orFail};A[${index}][row]=w;L[${index}][row]=H.value;arena.used=w+H.value`)
      this.#textBytesMax += decimalTextBytesMax
      return
    }
    const call = field.type === 'number' ? `H.decimalNumber(B,p,n,${scale})` : `H.decimalInteger(B,p,n,${(field.scale ?? 0) - scale})`
    this.emit(`m=${call};${orFail};N[${index}][row]=H.value`)
    this.#emitBounds(index)
  }

  /** Text that the writer's bytes do not hold as such: appended to the arena by `call`, which returns its length. */
  #emitFormatted(index: number, call: string, bytesMax: number): void {
    const length = this.newVariable()
    this.emit(`w=arena.used;const ${length}=${call};A[${index}][row]=w;L[${index}][row]=${length};arena.used=w+${length}`)
    this.#textBytesMax += bytesMax
  }
}

/** The writer's field for a step of a path: by its name, else by an alias of the reader. */
function fieldOf(type: RecordType, node: PathNode): RecordType['fields'][number] | undefined {
  return type.fields.find(({ name }) => name === node.name) ?? type.fields.find(({ name }) => node.aliases.includes(name))
}

function accepts(field: FieldSpec, type: AvroType): boolean {
  const { kind } = type
  const isDecimal = (kind === 'bytes' || kind === 'fixed') && type.logical?.name === 'decimal'
  if (isDecimal && type.logical.scale > decimalScaleMax) return false
  if (isText(field)) return kind === 'string' || kind === 'enum' || kind === 'int' || kind === 'long' || kind === 'bytes' || kind === 'fixed'
  if (field.type === 'boolean') return kind === 'boolean'
  if (field.type === 'iso8601') return kind === 'string'
  if (kind === 'string') return field.from === 'text'
  if (kind === 'int' || kind === 'long' || kind === 'float' || kind === 'double') return true
  return isDecimal && !isTime(field)
}

function nameOfType(type: AvroType): string {
  const logical = 'logical' in type ? type.logical : undefined
  const name = type.kind === 'record' ? `record ${type.name}` : type.kind
  return logical ? `${name} (${logical.name})` : name
}

/** A number as code. */
function literal(value: number): string {
  if (!Number.isFinite(value)) throw new Error(`${value} is not a finite number`)
  return value < 0 ? `(${value})` : String(value)
}
