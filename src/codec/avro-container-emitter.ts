import type { AvroType } from './avro-schema.js'
import { AvroSkipEmitter, isZeroSize } from './avro-skip-emitter.js'
import { Fault, packFault } from './decode-fault.js'
import type { PathNode } from './field-paths.js'

/** Items without bytes that one array may claim: a few bytes could otherwise keep the decoder busy for hours. */
const emptyItemsMax = 1_000_000

/** Whether a path may step from a value of this type to this child: items are for arrays, names for records and maps. */
export function stepsInto(type: AvroType, child: PathNode): boolean {
  if (type.kind === 'array') return child.index !== undefined
  return (type.kind === 'record' || type.kind === 'map') && child.index === undefined
}

/** Writes the source of code that reads wanted items of arrays and wanted entries of maps, and skips the others. */
export abstract class AvroContainerEmitter extends AvroSkipEmitter {
  protected abstract emitChild(type: AvroType, child: PathNode): void
  protected abstract emitStandIns(child: PathNode): void
  /** Makes bytes known to the code; returns the expression for them. */
  protected abstract constant(bytes: Uint8Array): string
  /** The field to blame for what is wrong at a step. */
  protected abstract firstField(node: PathNode): number

  protected emitArray(items: AvroType, node: PathNode): void {
    const at = this.newVariable()
    this.emit(`let ${at}=0`)
    this.#emitBlocks((count) => {
      if (isZeroSize(items, new Set())) this.emit(`if(${at}+${count}>${emptyItemsMax})return ${Fault.malformed}`)
      else this.emit(`if(${count}>end-p)return ${Fault.truncated}`)
      this.emit(`for(;${count}>0;${count}--){switch(${at}++){`)
      for (const child of node.children) {
        this.emit(`case ${child.index!}:{`)
        this.emitChild(items, child)
        this.emit('break}')
      }
      this.emit('default:{')
      this.emitSkip(items)
      this.emit('break}}}')
    })
    for (const child of node.children) {
      if (child.only === true) this.emit(`if(${at}>1)return ${packFault(Fault.tooMany, this.firstField(child))}`)
    }
    for (const child of node.children) this.#emitAbsent(`${at}<=${child.index!}`, child)
  }

  protected emitMap(items: AvroType, node: PathNode): void {
    const found = node.children.map(() => this.newVariable())
    const key = this.newVariable()
    this.emit(`let ${key}=0,${found.map((variable) => `${variable}=0`).join(',')}`)
    this.#emitBlocks((count) => {
      this.emit(`if(${count}>end-p)return ${Fault.truncated}`)
      this.emit(`for(;${count}>0;${count}--){`)
      this.emitLength()
      this.emit(`${key}=-1`)
      node.children.forEach((child, i) => this.emit(`if(H.isText(B,p,n,${this.constant(Buffer.from(child.name))}))${key}=${i}`))
      this.emit(`p+=n;switch(${key}){`)
      node.children.forEach((child, i) => {
        this.emit(`case ${i}:{if(${found[i]}++>0)return ${packFault(Fault.duplicateField, this.firstField(child))}`)
        this.emitChild(items, child)
        this.emit('break}')
      })
      this.emit('default:{')
      this.emitSkip(items)
      this.emit('break}}}')
    })
    node.children.forEach((child, i) => this.#emitAbsent(`${found[i]}===0`, child))
  }

  #emitAbsent(condition: string, child: PathNode): void {
    this.emit(`if(${condition}){`)
    this.emitStandIns(child)
    this.emit('}')
  }

  /** The blocks of an array or map. Sizes in bytes are passed over: items within a block are wanted one by one. */
  #emitBlocks(emitItems: (count: string) => void): void {
    const count = this.newVariable()
    this.emit('for(;;){')
    this.emitCount()
    this.emit(`if(n===0)break;let ${count}=n;if(n<0){${count}=-n;`)
    this.emitLength()
    this.emit('}')
    emitItems(count)
    this.emit('}')
  }
}
