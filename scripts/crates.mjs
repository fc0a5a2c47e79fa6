// The crates that the addon is made of: their licences, where they come from, which are there twice, and their notices.
// `node scripts/crates.mjs` checks them. `cargo deny` would do so too, but takes minutes to compile on a bare machine.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CommandError, main, mustRun } from './lib.mjs'

/** Licences that ask for no more than a notice. */
const allowed = new Set([
  ...['0BSD', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0', 'CC0-1.0'],
  ...['ISC', 'MIT', 'MIT-0', 'Unicode-3.0', 'Unlicense', 'Zlib'],
])
/** Where crates may come from, besides this repository. */
const registry = 'registry+https://github.com/rust-lang/crates.io-index'
/** Crates that are there in two versions, until those that use the older one are updated. */
const duplicates = new Set(['getrandom', 'hashbrown', 'miniz_oxide', 'syn'])

const target = 'x86_64-unknown-linux-gnu'
const isMacro = ({ targets }) => targets.some(({ kind }) => kind.includes('proc-macro'))

/** All crates, and those that are linked into the addon. */
export async function crates() {
  const args = ['metadata', '--locked', '--format-version', '1', '--filter-platform', target]
  const { packages, resolve } = JSON.parse((await mustRun('cargo', args, { echo: 'stderr' })).stdout)
  const byId = new Map(packages.map(crate => [crate.id, crate]))
  const nodes = new Map(resolve.nodes.map(node => [node.id, node]))
  const linked = new Set()
  const visit = id => {
    const crate = byId.get(id)
    if (linked.has(crate) || isMacro(crate)) return
    linked.add(crate)
    for (const { pkg, dep_kinds } of nodes.get(id).deps) if (dep_kinds.some(({ kind }) => kind === null)) visit(pkg)
  }
  visit(packages.find(({ name }) => name === 'wick-node').id)
  const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1)
  return { all: packages.sort(byName), linked: [...linked].filter(({ source }) => source !== null).sort(byName) }
}

/** Whether a licence expression (`MIT OR Apache-2.0`, `(MIT OR Zlib) AND ISC`; a slash is an old OR) can be met. */
export function isAllowed(expression) {
  const tokens = (expression ?? '').replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? []
  let at = 0
  const term = () => {
    if (tokens[at] === '(') {
      at++
      const inner = either()
      return tokens[at++] === ')' && inner
    }
    let name = tokens[at++]
    if (tokens[at] === 'WITH') {
      name += ` WITH ${tokens[at + 1]}`
      at += 2
    }
    return allowed.has(name)
  }
  const both = () => {
    let met = term()
    while (tokens[at] === 'AND') {
      at++
      met = term() && met
    }
    return met
  }
  const either = () => {
    let met = both()
    while (tokens[at] === 'OR') {
      at++
      met = both() || met
    }
    return met
  }
  return either() && at === tokens.length
}

/** What is wrong with the crates, a line each. */
export function problemsOf(all) {
  const versions = new Map()
  for (const crate of all) versions.set(crate.name, [...(versions.get(crate.name) ?? []), crate])
  const outside = all.filter(({ source }) => source !== null)
  return [
    ...outside.filter(c => !isAllowed(c.license)).map(c => `${c.name} ${c.version}: licence ${c.license}`),
    ...outside.filter(c => c.source !== registry).map(c => `${c.name} ${c.version}: comes from ${c.source}`),
    ...[...versions]
      .filter(([name, list]) => list.length > 1 && !duplicates.has(name))
      .map(([name, list]) => `${name}: is there as ${list.map(({ version }) => version).join(' and ')}`),
  ]
}

const noticeFile = /^(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?$/i

/** The licence files of a crate; one without any has the usual text of its licence with its authors. */
function notices({ name, license, authors, manifest_path }) {
  const folder = dirname(manifest_path)
  const files = readdirSync(folder, { withFileTypes: true }).filter(file => file.isFile() && noticeFile.test(file.name))
  const texts = files.map(file => readFileSync(join(folder, file.name), 'utf8').replaceAll('\r\n', '\n').trim())
  if (texts.length > 0) return texts
  if (!/\bMIT\b/.test(license)) throw new CommandError(`${name} has no licence file, and its licence is ${license}`)
  return [`Copyright (c) ${authors.join(', ')}\n\n${mit}`]
}

const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

/** The notices of the linked crates: each text once, under the crates that have it. */
export function noticesOf(linked) {
  const byText = new Map()
  for (const crate of linked) {
    for (const text of new Set(notices(crate)))
      byText.set(text, [...(byText.get(text) ?? []), `${crate.name} ${crate.version} (${crate.license})`])
  }
  const parts = [...byText].map(([text, names]) => `${'='.repeat(80)}\n${names.join('\n')}\n\n${text}\n`)
  return `Notices of the ${linked.length} crates that are linked into wick's native addon.\n\n${parts.join('\n')}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const { all, linked } = await crates()
    noticesOf(linked)
    const problems = problemsOf(all)
    for (const problem of problems) console.error(problem)
    console.log(`${all.length} crates, ${linked.length} of others are linked`)
    return problems.length > 0 ? 1 : 0
  })
}
