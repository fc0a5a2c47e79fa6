// The checks of what wick depends on: crates by their licences and sources, packages by what npm knows of them.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const scripts = new URL(import.meta.url.endsWith('.ts') ? '../scripts/' : '../../scripts/', import.meta.url)
const folder = mkdtempSync(join(tmpdir(), 'wick-dependencies-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Crate {
  name: string
  version: string
  license: string | null
  source: string | null
}
const { isAllowed, problemsOf } = (await import(new URL('crates.mjs', scripts).href)) as {
  isAllowed(expression: string | null): boolean
  problemsOf(all: readonly Crate[]): string[]
}

test('licence expressions', () => {
  const met = ['MIT', 'GPL-3.0 OR MIT', '(MIT OR GPL-2.0) AND Unicode-3.0', 'Apache-2.0/MIT', 'Apache-2.0 / GPL-3.0']
  const exceptions = ['Apache-2.0 WITH LLVM-exception OR GPL-2.0', 'GPL-2.0 WITH x OR (ISC AND Zlib)']
  for (const expression of [...met, ...exceptions]) assert.ok(isAllowed(expression), expression)
  const not = ['GPL-3.0', 'MIT AND GPL-3.0', 'MIT AND (GPL-3.0 OR AGPL-3.0)', 'MIT WITH x', '(MIT', 'MIT MIT', '', null]
  for (const expression of not) assert.ok(!isAllowed(expression), String(expression))
})

test('crates of other licences and sources, and those that are there twice, are named', () => {
  const source = 'registry+https://github.com/rust-lang/crates.io-index'
  const good = { name: 'a', version: '1.0.0', license: 'MIT', source }
  assert.deepEqual(problemsOf([good, { name: 'own', version: '1.0.0', license: null, source: null }]), [])
  const bad = [good, { ...good, version: '2.0.0' }, { ...good, name: 'b', license: 'GPL-3.0' }]
  assert.deepEqual(problemsOf([...bad, { ...good, name: 'c', source: 'git+https://example.com/c' }]), [
    'b 1.0.0: licence GPL-3.0',
    'c 1.0.0: comes from git+https://example.com/c',
    'a: is there as 1.0.0 and 2.0.0',
  ])
})

test('an audit fails for vulnerabilities only; a registry without audits is said', () => {
  const audit = (answer: string, status: number) => {
    const npm = join(folder, 'npm.mjs')
    writeFileSync(npm, `console.log(${JSON.stringify(answer)})\nprocess.exitCode = ${status}\n`)
    // Node runs the scripts, whatever runs the tests.
    const {
      status: code,
      stdout,
      stderr,
    } = spawnSync('node', [fileURLToPath(new URL('audit.mjs', scripts))], {
      env: { ...process.env, npm_execpath: npm, npm_node_execpath: undefined },
      encoding: 'utf8',
    })
    return [code, stdout + stderr] as const
  }
  const report = (total: number, vulnerabilities: object) =>
    JSON.stringify({ vulnerabilities, metadata: { vulnerabilities: { total } } })
  const [none, some, refused] = [
    audit(report(0, {}), 0),
    audit(report(1, { left: { severity: 'high', range: '<2' } }), 1),
    audit(JSON.stringify({ message: '405 Method Not Allowed' }), 1),
  ]
  assert.deepEqual(none, [0, 'No known vulnerabilities\n'])
  assert.equal(some[0], 1)
  assert.match(some[1], /left <2: high/)
  assert.equal(refused[0], 0)
  assert.match(refused[1], /answers no audits \(405/)
})
