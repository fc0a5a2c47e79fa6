// How the test runners' own summaries become one line, and their failures a few.

/** Adds up every `pattern`'s first group in a runner's output. */
const sum = (output, pattern) => [...output.matchAll(pattern)].reduce((total, [, count]) => total + Number(count), 0)

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with one.
const withoutColour = output => output.replace(/\u001b\[[0-9;]*m/g, '')

/** For each runner, where its output states the tests that passed and failed. */
const patterns = {
  // "test result: ok. 12 passed; 0 failed; …", once for each test binary.
  cargo: { passed: /^test result:.* (\d+) passed/gm, failed: /^test result:.* (\d+) failed/gm },
  // "Summary [ 0.5s] 10 tests run: 9 passed, 1 failed, 0 skipped".
  nextest: { passed: /tests? run: (\d+) passed/g, failed: /tests? run:.* (\d+) (?:failed|timed out|exec failed)/g },
  // " 3 pass", " 1 fail"; a file that could not be loaded is among the failed.
  bun: { passed: /^ *(\d+) pass$/gm, failed: /^ *(\d+) fail$/gm },
  // Our own programs: "2 passed, 0 failed".
  wick: { passed: /^(\d+) passed, \d+ failed$/gm, failed: /^\d+ passed, (\d+) failed$/gm },
  // The spec reporter's "ℹ pass 3", "ℹ fail 0", "ℹ cancelled 0".
  node: { passed: /^ℹ pass (\d+)$/gm, failed: /^ℹ (?:fail|cancelled) (\d+)$/gm },
}

/**
 * Counts of a runner's output. A runner that failed without naming a test, or that ran nothing, counts as one failure, because
 * silence must not pass.
 */
export function countTests(kind, { output, code }) {
  const text = withoutColour(output)
  const passed = sum(text, patterns[kind].passed)
  const failed = sum(text, patterns[kind].failed)
  const silent = failed === 0 && (code !== 0 || passed === 0)
  return { passed, failed: silent ? 1 : failed }
}

/** What says nothing that the message doesn't: stacks, lines of the source, and fields of the error. */
const noise =
  /^(?: +at .*| *\d+ \|.*| *\^+| *(?:op|details|modulePath|code|generatedMessage|operator|actual|expected|diff): .*)$/gm

/** For each runner, what its output says of a failed test, as `{ name, text }`. */
const failureFinders = {
  // "---- NAME stdout ----", then what it printed.
  cargo: text =>
    [...text.matchAll(/^---- (.+) stdout ----\n([\s\S]*?)(?=^---- |^failures:)/gm)].map(([, name, text]) => ({
      name,
      text: text.replace(/^note: .*$/gm, ''),
    })),
  // The error stands before "(fail) NAME [1.00ms]", below the lines of its source.
  bun: all => {
    let since = 0
    // Below stands a list of them all again.
    const [text] = all.split(/^\d+ tests? failed:$/m)
    return [...text.matchAll(/^\((?:fail|pass|skip|todo)\) .*$/gm)].flatMap(({ 0: line, index }) => {
      const before = text.slice(since, index)
      since = index + line.length
      if (!line.startsWith('(fail)')) return []
      const at = before.search(/^\S*(?:error|Error)\b.*:/m)
      const error = (at < 0 ? before : before.slice(at)).replace(noise, '')
      const [, place] = before.match(/^ +at .*\/(test\/[^)\n]*)/m) ?? []
      return { name: line.slice('(fail) '.length), text: `${place ? `at ${place}: ` : ''}${error.trimStart()}` }
    })
  },
  wick: text => [...text.matchAll(/^.*(?:too far off|[Ee]rror).*$/gm)].map(([line]) => ({ name: '', text: line })),
}

/** The failures in a runner's output, each as its name and its first lines; the output's end if it names none. */
export function failuresIn(kind, { output, code, signal }, { lines = 4, width = 200 } = {}) {
  const text = withoutColour(output)
  const found = failureFinders[kind](text)
  if (found.length === 0 && code !== 0) found.push({ name: `exit ${signal ?? code}`, text: text.slice(-1500) })
  const short = text =>
    text
      .split('\n')
      .filter(line => line.trim() !== '')
      .slice(0, lines)
      .map(line => line.trimEnd().slice(0, width))
  return found.map(({ name, text }) => [name, ...short(text)].filter(Boolean).join('\n    '))
}

/** Prints a table of named counts and, as the last line, their total; resolves to the exit code. */
export function printTotals(rows) {
  const width = Math.max(...rows.map(({ name }) => name.length))
  console.log()
  for (const { name, passed, failed } of rows) console.log(`${name.padEnd(width)}  ${passed} passed, ${failed} failed`)
  const total = key => rows.reduce((count, row) => count + row[key], 0)
  console.log(`${total('passed')} passed, ${total('failed')} failed`)
  return total('failed') > 0 || total('passed') === 0 ? 1 : 0
}
