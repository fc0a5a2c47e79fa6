// `npm run check`: formatting, lints, types, dead exports and the documentation,
// and what is depended on. Every check runs, whatever the others say.
import { join } from 'node:path'
import { ensureInstalled } from './install.mjs'
import { installedNode, main, root, run, tsc } from './lib.mjs'
import { printTotals } from './report.mjs'

const inModules = path => join(root, 'node_modules', path)

const checks = {
  'biome (format, lint)': [installedNode, inModules('@biomejs/biome/bin/biome'), 'ci', '.', '--colors=off'],
  'tsc (types)': [installedNode, tsc, '--noEmit'],
  'knip (dead exports)': [installedNode, inModules('knip/bin/knip.js')],
  'typedoc (docs)': [installedNode, inModules('typedoc/bin/typedoc')],
  'crates (licences, sources, duplicates)': [installedNode, join(root, 'scripts/crates.mjs')],
  'npm audit': [installedNode, join(root, 'scripts/audit.mjs')],
  rustfmt: ['cargo', 'fmt', '--all', '--check'],
  clippy: [
    ...['cargo', 'clippy', '--release', '--locked', '--workspace', '--all-targets'],
    ...['--features', 'wick-cuda/gpu-tests', '--', '-D', 'warnings'],
  ],
}

await main(async () => {
  await ensureInstalled()
  const rows = []
  for (const [name, [command, ...args]] of Object.entries(checks)) {
    console.log(`\n— ${name} —`)
    const { code } = await run(command, args)
    rows.push({ name, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 })
  }
  return printTotals(rows)
})
