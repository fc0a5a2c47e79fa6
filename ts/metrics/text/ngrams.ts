/** Counting runs of words. */

/** How often each run of `n` tokens occurs. */
export function countNgrams(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= tokens.length; i++) {
    const key = JSON.stringify(tokens.slice(i, i + n))
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

/** The sum of a counter. */
export function countAll(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((a, b) => a + b, 0)
}

/** What two counters have in common. */
export function countShared(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  return [...a].reduce((sum, [key, count]) => sum + Math.min(count, b.get(key) ?? 0), 0)
}
