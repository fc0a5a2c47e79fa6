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

const time = ms => (ms < 10 ? `${(ms * 1000).toFixed(ms < 0.1 ? 1 : 0)} us` : `${ms.toFixed(1)} ms`)
const cell = speed => (speed === undefined ? '' : speed.error ? 'failed' : time(speed.stepMs))

/** The rows of a table: for each group the steps of PyTorch's modes and, for each mode of wick, its step and the ratio to the best of them. */
function table(groups, torchModes, withLimits = false) {
  const results = [...groups.values()].flat()
  const versions = [...new Set(results.flatMap(({ torchVersion }) => torchVersion ?? []))].join(', ') || 'PyTorch'
  const modes = ['eager', 'auto', 'full'].filter(mode => results.some(result => result.mode === mode))
  const titles = [
    'time a step',
    ...torchModes.map(mode => `${versions} ${mode}`),
    ...modes.map(mode => `wick ${mode}`),
    ...(withLimits ? ['limit'] : []),
  ]
  const rows = [...groups].map(([name, row]) => {
    const torch = torchModes.map(mode => cell(row.find(result => result.torch)?.torch[mode]))
    const wick = modes.map(mode => {
      const result = row.find(result => result.mode === mode)
      return cell(result) + (result?.ratio ? ` (${result.ratio.toFixed(1)}x)` : '')
    })
    return [name, ...torch, ...wick, ...(withLimits ? [limit(row)] : [])]
  })
  return [titles, titles.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |\n`).join('')
}

/** The least time of a step, and the part of the fastest mode's step that it is. */
function limit(row) {
  const floor = row.find(result => result.floorMs)?.floorMs
  const share = Math.max(...row.map(result => result.share ?? 0))
  return floor ? `${time(floor)} (${(100 * share).toFixed(0)}%)` : ''
}

/** A row for each job and thread count. */
function cpuTable(results) {
  const groups = groupBy(results, ({ job, threads }) => `\`${job}\`, ${threads} thread${threads === 1 ? '' : 's'}`)
  return table(groups, ['eager'])
}

/** A row for each job. */
function cudaTable(results) {
  const groups = groupBy(results, ({ job, dtype }) => `\`${job}\`, ${dtype}`)
  const torchModes = ['eager', 'compile', 'best'].filter(mode => results.some(result => result.torch?.[mode]))
  return table(
    groups,
    torchModes,
    results.some(result => result.floorMs),
  )
}

/** The newest results of a device, as the file's name and its lines. */
function newestResults(device) {
  const folder = join(root, 'bench/results')
  return (existsSync(folder) ? readdirSync(folder) : [])
    .filter(name => name.endsWith('.json'))
    .sort((a, b) => b.slice(-15).localeCompare(a.slice(-15))) // by the date at the end of the name
    .map(name => ({ name, results: JSON.parse(read(`bench/results/${name}`)) }))
    .find(({ results }) => Array.isArray(results) && results[0]?.device === device && results[0]?.job !== undefined)
}

await main(() => {
  let readme = read('README.md')
  readme = replaceSection(readme, 'example', `\`\`\`ts\n${read('examples/mnist.ts')}\`\`\`\n`)
  for (const [section, device, tableOf] of [
    ['bench', 'cpu', cpuTable],
    ['bench-cuda', 'cuda', cudaTable],
  ]) {
    const newest = newestResults(device)
    if (!newest) continue
    const source = `\nFrom \`bench/results/${newest.name}\`.\n`
    readme = replaceSection(readme, section, tableOf(newest.results) + source)
  }
  writeFileSync(join(root, 'README.md'), readme)
})
