// `npm audit` as a check: it fails if packages have known vulnerabilities. A registry that answers no audits, as mirrors do, leaves
// the question open, which is said and is no failure.
import { CommandError, installedNode, main, run } from './lib.mjs'

await main(async () => {
  const npm = process.env.npm_execpath
  const [command, ...args] = npm ? [installedNode, npm] : ['npm']
  const { stdout, stderr } = await run(command, [...args, 'audit', '--json'], { echo: false, timeout: 60_000 })
  const start = stdout.indexOf('{')
  const report = start < 0 ? {} : JSON.parse(stdout.slice(start))
  const total = report.metadata?.vulnerabilities?.total
  if (total === undefined) {
    console.log(
      `Left out: the registry answers no audits (${report.message ?? (stderr.trim().split('\n').at(-1) || 'nothing came')})`,
    )
    return
  }
  if (total === 0) return console.log('No known vulnerabilities')
  for (const [name, { severity, range }] of Object.entries(report.vulnerabilities))
    console.error(`${name} ${range}: ${severity}`)
  throw new CommandError(`${total} known vulnerabilities: npm audit says more`)
})
