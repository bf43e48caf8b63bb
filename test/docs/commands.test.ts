import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { codeOf, partsScript, readDocuments, root } from './documents.js'

/** `harrier …`, `npx harrier …` and `npm start -- …` in the code of a document, to the end of the line or of a sentence. */
function commandLines(markdown: string): string[] {
  const code = codeOf(markdown).replaceAll('npm start -- ', 'harrier start ').replaceAll('node bin/harrier.js ', 'harrier ')
  return [...code.matchAll(/(?:^|\s)harrier ((?:[a-z]+|--[a-z-]+)(?: [^\n#|;)]*)?)/gm)].map((match) => match[1]!.trim())
}

describe('commands in the documentation', () => {
  it('exist, with the options that are shown', async () => {
    const commands = (await partsScript()).allCommands()
    let seen = 0
    for (const [file, text] of await readDocuments()) {
      for (const line of commandLines(text)) {
        const words = line.split(/\s+/)
        if (words[0]!.startsWith('--')) continue
        const matching = commands.filter(({ path }) => path.split(' ').every((word, at) => word === words[at]))
        const command = matching[0]?.command
        if (!command) {
          assert.ok(commands.some(({ path }) => path.startsWith(`${words[0]} `)) && words.length === 1, `${file}: there is no command "harrier ${line}"`)
          continue
        }
        seen++
        for (const option of words.filter((word) => word.startsWith('--'))) {
          assert.ok(command.options.some(({ long }) => long === option) || option === '--help', `${file}: harrier ${words[0]} has no option ${option}`)
        }
      }
    }
    assert.ok(seen > 20, `commands were found: ${seen}`)
  })

  it('options that prose mentions belong to some command', async () => {
    const options = new Set((await partsScript()).allCommands().flatMap(({ command }) => command.options.map(({ long }) => long)))
    for (const [file, text] of await readDocuments()) {
      if (file === 'training/README.md') continue
      for (const [, option] of text.matchAll(/`(--[a-z-]+)[ `]/g)) assert.ok(options.has(option) || option === '--help', `${file}: ${option}`)
    }
  })

  it('npm scripts that are shown exist', async () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
    for (const [file, text] of await readDocuments()) {
      for (const [, script] of codeOf(text).matchAll(/npm (?:run )?(start|test|build|lint|typecheck|[a-z]+:[a-z]+)\b/g)) assert.ok(script! in scripts, `${file}: npm ${script}`)
    }
  })
})
