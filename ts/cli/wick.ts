#!/usr/bin/env node
/** The command `wick`. A command's code is loaded when it runs, so that `--help` needs neither the addon nor a GPU. */
import { type Command, readArguments, UsageError, unknownName } from './command.ts'
import { doctor } from './doctor.ts'
import { env } from './env.ts'
import { packageVersion } from './system.ts'

const commands: Readonly<Record<string, Command>> = { env, doctor }

function help(): string {
  const width = Math.max(...Object.keys(commands).map(name => name.length))
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `wick COMMAND [options]

Commands:
${list.join('\n')}

\`wick COMMAND --help\` describes a command's options; \`wick --version\` prints the version.`
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === '--version' || name === '-v') {
    console.log(packageVersion())
    return 0
  }
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    console.log(help())
    return name === undefined ? 2 : 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw unknownName('command', name, Object.keys(commands))
  if (args.includes('--help') || args.includes('-h')) {
    console.log(command.usage)
    return 0
  }
  return command.run(readArguments(command, args))
}

try {
  // Output that is still on its way to a pipe is written before the process ends.
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`wick: ${error.message}\n\`wick --help\` lists what there is.`)
  process.exitCode = 2
}
