/** Every TypeScript snippet of README.md and docs/ has the right types and runs, on small data. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, extname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import { cuda } from '../ts/index.ts'

interface Snippet {
  name: string
  text: string
}

const root = process.cwd()
const pages = ['README.md', ...readdirSync('docs').map(name => `docs/${name}`)].filter(path => path.endsWith('.md'))
const snippets: Snippet[] = pages.flatMap(path =>
  [...readFileSync(path, 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match, i) => ({
    name: `${basename(path, '.md')}-${i + 1}`,
    text: match[1]!,
  })),
)

// Inside the package, so that a snippet finds `wick-ml`.
mkdirSync('dist', { recursive: true })
const folder = mkdtempSync(join(root, 'dist/snippets-'))
after(() => rmSync(folder, { recursive: true }))
const sourceOf = ({ name }: Snippet) => join(folder, `${name}.ts`)

const config = ts.getParsedCommandLineOfConfigFile(
  'tsconfig.json',
  {},
  {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: diagnostic => assert.fail(textOf(diagnostic)),
  },
)!
// A snippet is given every name that it could use.
const options = { ...config.options, noUnusedLocals: false, noUnusedParameters: false, verbatimModuleSyntax: false }
const entry = join(root, 'ts/index.ts')
const contextFile = join(root, 'test/programs/snippet-context.ts')

function textOf({ file, start, messageText }: ts.Diagnostic): string {
  const message = ts.flattenDiagnosticMessageText(messageText, '\n')
  if (!file || start === undefined) return message
  const line = file.text.split('\n')[file.getLineAndCharacterOfPosition(start).line]!
  return `${basename(file.fileName)}: ${message}\n    ${line.trim()}`
}

/** Names that `wick-ml` exports, types too, and names of what the context holds. */
function knownNames(program: ts.Program) {
  const checker = program.getTypeChecker()
  const exportsOf = (path: string) =>
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(path)!)!)
  const make = exportsOf(contextFile).find(({ name }) => name === 'makeContext')!
  const [signature] = checker.getTypeOfSymbol(make).getCallSignatures()
  const properties = checker.getReturnTypeOfSignature(signature!).getProperties()
  return { exported: exportsOf(entry).map(({ name }) => name), context: properties.map(({ name }) => name) }
}

/** The snippet as a function of its context. What can only stand at a module's top level stays there. */
function toModule(text: string, { exported, context }: ReturnType<typeof knownNames>): string {
  const parsed = ts.createSourceFile('snippet.ts', text, ts.ScriptTarget.Latest)
  const isOuter = (node: ts.Node) => ts.isImportDeclaration(node) || ts.isModuleDeclaration(node)
  const [outer, inner] = [true, false].map(wanted =>
    parsed.statements
      .filter(node => isOuter(node) === wanted)
      .map(node => node.getFullText(parsed))
      .join(''),
  )
  const used = new Set(text.match(/[\w$]+/g))
  const imported = /^import /m.test(text) ? [] : exported.filter(name => used.has(name))
  return `import { ${imported.join(', ')} } from 'wick-ml'
import type { makeContext, Net } from '../../test/programs/snippet-context.ts'
${outer}
export default async function (context: ReturnType<typeof makeContext>) {
  const { ${context.join(', ')} } = context
  {
${inner}
  }
}
`
}

/** The code in the last column of the tables of docs/from-pytorch.md: expressions, `const ...` and `interface ...`. */
function wicksNames(): string {
  const rows = [...readFileSync('docs/from-pytorch.md', 'utf8').matchAll(/^\| .* \| (.*) \|$/gm)]
  const code = rows.flatMap(([, cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(match => match[1]!))
  assert.ok(code.length > 200, `${code.length} names`)
  const statements = code.map((text, i) => {
    if (text.startsWith('const ')) return `{ ${text} }`
    return text.startsWith('interface ') ? `type T${i}<Item> = ${text.slice(10)}` : `void (${text})`
  })
  return statements.join('\n')
}

const namesOfPage: Snippet = { name: 'names-of-from-pytorch', text: wicksNames() }
const checked = [...snippets, namesOfPage]
const first = ts.createProgram([entry, contextFile], options)
const names = knownNames(first)
for (const snippet of checked) writeFileSync(sourceOf(snippet), toModule(snippet.text, names))
const program = ts.createProgram([entry, contextFile, ...checked.map(sourceOf)], options, undefined, first)

function checkTypes(snippet: Snippet): void {
  const file = program.getSourceFile(sourceOf(snippet))!
  const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
  assert.deepEqual(found.map(textOf), [])
}

test('docs/from-pytorch.md names what there is', () => checkTypes(namesOfPage))

const runner = fileURLToPath(new URL(`./programs/snippet${extname(fileURLToPath(import.meta.url))}`, import.meta.url))
const needsGpu = ({ text }: Snippet) => text.includes("'cuda'")

for (const snippet of snippets) {
  test(`${snippet.name} has the right types`, () => checkTypes(snippet))

  // Without a GPU the types have to do.
  if (needsGpu(snippet) && !cuda.isAvailable()) continue
  test(`${snippet.name} runs`, async () => {
    const compilerOptions = { ...options, module: ts.ModuleKind.ESNext }
    const { outputText } = ts.transpileModule(readFileSync(sourceOf(snippet), 'utf8'), { compilerOptions })
    const compiled = join(folder, `${snippet.name}.mjs`)
    writeFileSync(compiled, outputText)
    const cwd = mkdtempSync(join(tmpdir(), 'wick-snippet-'))
    try {
      const env = { ...process.env, WICK_SNIPPET: pathToFileURL(compiled).href, WICK_LIMIT_BATCHES: '2' }
      await promisify(execFile)(process.execPath, [runner], { env, cwd })
    } finally {
      rmSync(cwd, { recursive: true })
    }
  })
}
