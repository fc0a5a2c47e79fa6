/** What a command of `wick` is, and how its arguments are read. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { nearest } from '../errors.ts'

/** Options by name, as `util.parseArgs` takes them. */
export type CommandOptions = NonNullable<ParseArgsConfig['options']>

/** Values of options, as `util.parseArgs` gives them. */
export type CommandValues = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

/** A command of `wick`. */
export interface Command {
  /** One line for the list of commands. */
  summary: string
  /** What `wick COMMAND --help` prints. */
  usage: string
  options: CommandOptions
  /** Runs the command and resolves to the exit status. */
  run(values: CommandValues): Promise<number>
}

/** The command line is wrong: printed without a stack, exit status 2. */
export class UsageError extends Error {}

/** `name` isn't one of `known`; the message names the nearest. */
export function unknownName(what: string, name: string, known: readonly string[]): UsageError {
  const near = nearest(name, known)
  const hint = near === undefined ? `known: ${known.join(', ')}` : `did you mean '${near}'?`
  return new UsageError(`unknown ${what} '${name}'; ${hint}`)
}

/** Reads a command's arguments; `UsageError` for unknown options and for values that are missing or too many. */
export function readArguments({ options }: Command, args: string[]): CommandValues {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (name !== undefined && !(name in options))
      throw unknownName(
        'option',
        `--${name}`,
        Object.keys(options).map(o => `--${o}`),
      )
  }
  try {
    return parseArgs({ args, options }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
