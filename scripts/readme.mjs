// `npm run readme`: writes the generated parts of README.md, which are the example and the newest benchmark results.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError, main, root } from './lib.mjs'

const read = path => readFileSync(join(root, path), 'utf8')

/** Replaces what stands between `<!-- NAME:begin … -->` and `<!-- NAME:end -->`. */
function replaceSection(text, name, content) {
  const section = new RegExp(`(<!-- ${name}:begin[^>]*-->\n)[\\s\\S]*?(<!-- ${name}:end -->)`)
  if (!section.test(text)) throw new CommandError(`README.md has no section ${name}`)
  return text.replace(section, (_, begin, end) => `${begin}${content}${end}`)
}

function groupBy(items, key) {
  const groups = new Map()
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item])
  return groups
}

/** A row for each job and thread count: PyTorch's step and, for each mode of wick, its step and the ratio. */
function benchTable(results) {
  const rows = groupBy(results, ({ job, threads }) => `\`${job}\`, ${threads} thread${threads === 1 ? '' : 's'}`)
  const time = ms => (ms < 10 ? `${(ms * 1000).toFixed(0)} us` : `${ms.toFixed(1)} ms`)
  const cell = result => (result ? time(result.stepMs) + (result.ratio ? ` (${result.ratio.toFixed(1)}x)` : '') : '')
  const lines = [...rows].map(([name, row]) => {
    const wick = ['eager', 'auto', 'full'].map(mode => cell(row.find(result => result.mode === mode)))
    const torch = row.find(result => result.torch)?.torch
    return `| ${[name, torch ? time(torch.stepMs) : '', ...wick].join(' | ')} |\n`
  })
  const twins = [...new Set(results.flatMap(({ torch }) => torch?.version ?? []))].join(', ')
  return `| time a step | ${twins || 'PyTorch'} | wick eager | wick auto | wick full |\n|---|---|---|---|---|\n${lines.join('')}`
}

await main(() => {
  let readme = read('README.md')
  readme = replaceSection(readme, 'example', `\`\`\`ts\n${read('examples/mnist.ts')}\`\`\`\n`)
  const folder = join(root, 'bench/results')
  const newest = (existsSync(folder) ? readdirSync(folder) : [])
    .filter(name => name.endsWith('.json'))
    .sort((a, b) => a.slice(-15).localeCompare(b.slice(-15))) // by the date at the end of the name
    .at(-1)
  if (newest) {
    const source = `\nFrom \`bench/results/${newest}\`.\n`
    readme = replaceSection(readme, 'bench', benchTable(JSON.parse(read(`bench/results/${newest}`))) + source)
  }
  writeFileSync(join(root, 'README.md'), readme)
})
