/** CSV, JSON Lines and text files as datasets. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { data, WickError } from '../ts/index.ts'

const dir = mkdtempSync(join(tmpdir(), 'wick-text-'))
after(() => rmSync(dir, { recursive: true, force: true }))
let count = 0
function file(text: string): string {
  const path = join(dir, `${count++}.txt`)
  writeFileSync(path, text)
  return path
}
const code = (expected: string, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof WickError, String(error))
  assert.equal(error.code, expected)
  assert.match(error.message, text)
  return true
}
const all = async <Item>(set: data.Dataset<Item>) => {
  const items: Item[] = []
  for (let i = 0; i < set.length; i++) items.push(await set.get(i))
  return items
}

test('csv reads quoted fields as RFC 4180 says', async () => {
  const text = '\uFEFFid,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,\r\n3,"é"'
  const set = data.csv(file(text))
  assert.deepEqual(await all(set), [
    { id: '1', text: 'a, "b"\r\nc' },
    { id: '2', text: '' },
    { id: '3', text: 'é' },
  ])
  const tabs = data.csv(file('1\t""\n"x\ty"\t"""q"""\n'), { header: ['a', 'b'], delimiter: '\t' })
  assert.deepEqual(await all(tabs), [
    { a: '1', b: '' },
    { a: 'x\ty', b: '"q"' },
  ])
})

test('csv has typed columns, and a loader makes tensors of them', async () => {
  const path = file('x,y,name,label,ok\n1,2.5,ann,0,true\n-1e3,nan,bob,2,0\n')
  const set = data.csv(path, {
    columns: {
      features: ['x', 'y'],
      x: 'float',
      label: 'int',
      ok: 'bool',
      name: 'string',
      upper: (row: data.CsvRow) => `${row.name}!`,
    },
  })
  const first = await set.get(0)
  assert.deepEqual(first, { features: Float32Array.of(1, 2.5), x: 1, label: 0, ok: true, name: 'ann', upper: 'ann!' })
  assert.deepEqual((await set.get(1)).features, Float32Array.of(-1000, Number.NaN))
  for await (const batch of new data.DataLoader(set, { batchSize: 2 })) {
    assert.deepEqual(batch.features.shape, [2, 2])
    assert.deepEqual(await batch.label.toArray(), [0, 2])
    assert.equal(batch.ok.dtype, 'bool')
    assert.deepEqual(batch.name, ['ann', 'bob'])
  }
})

test('errors of csv name the line', async () => {
  const bad: [string, RegExp][] = [
    ['a,b\n1,2\n3\n', /:3: expected 2 fields, found 1/],
    ['a,b\n"1\n2",3\n4,5,6\n', /:4: expected 2 fields, found 3/],
    ['a,b\n1,x"y"\n', /:2: a quote inside/],
    ['a,b\n1,"y"z\n', /:2: characters after/],
    ['a,b\n1,2\n1,"y\n\n', /:3: a quote that is never closed/],
    ['a,a\n', /:1: two columns are named 'a'/],
    ['', /:1: expected a row with the names/],
  ]
  for (const [text, message] of bad) assert.throws(() => data.csv(file(text)), code('BAD_FILE', message))
  const typed = data.csv(file('a,b\n"1\n",2\n0x10,2.5\n'), { columns: { a: 'float', b: 'int' } })
  assert.equal((await typed.get(0)).a, 1)
  assert.throws(() => typed.get(1), code('BAD_FILE', /:4: column 'a': expected a number, found '0x10'/))
  const whole = data.csv(file('n\n1.5\n'), { columns: { n: 'int' } })
  assert.throws(() => whole.get(0), code('BAD_FILE', /:2: column 'n': expected a whole number, found '1.5'/))
  assert.throws(() => whole.get(1), code('INDEX_OUT_OF_RANGE', /index/))
  const path = file('label\n1\n')
  assert.throws(
    () => data.csv(path, { columns: { lable: 'int' } }),
    code('BAD_OPTION', /'lable'; did you mean 'label'/),
  )
  assert.throws(() => data.csv(path, { delimiter: '"' }), code('BAD_OPTION', /delimiter/))
  assert.throws(() => data.csv(join(dir, 'none.csv')), code('BAD_FILE', /none\.csv: .*ENOENT/))
  assert.throws(() => data.csv(dir), code('BAD_FILE', /not a file/))
})

test('files of several pieces: rows that go over the borders', async () => {
  const rows = Array.from({ length: 60_000 }, (_, i) => `${i},"line ${i}\nof ""${'x'.repeat(i % 50)}"""`)
  const set = data.csv(file(`n,text\r\n${rows.join('\r\n')}`), { columns: { n: 'int', text: 'string' } })
  assert.equal(set.length, rows.length)
  for (const i of [0, 1, 14_000, 31_234, 59_999]) {
    assert.deepEqual(await set.get(i), { n: i, text: `line ${i}\nof "${'x'.repeat(i % 50)}"` })
  }
  const lines = data.textFile(file(rows.map((_, i) => `${i} ${'y'.repeat(i % 70)}\r\n`).join('')))
  assert.equal(lines.length, rows.length)
  for (let i = 0; i < rows.length; i += 997) assert.equal(await lines.get(i), `${i} ${'y'.repeat(i % 70)}`)
})

test('jsonl parses lines when asked and names a bad one; textFile keeps empty lines', async () => {
  const set = data.jsonl<{ a: number }>(file('{"a":1}\n\n{"a":2}\r\n{"a":\n{"a":4}'))
  assert.equal(set.length, 4)
  assert.deepEqual(await set.get(1), { a: 2 })
  assert.deepEqual(await set.get(3), { a: 4 })
  assert.throws(() => set.get(2), code('BAD_FILE', /:4: .*JSON/i))
  assert.deepEqual(await all(data.textFile(file('a\n\nb\r\n'))), ['a', '', 'b'])
  assert.equal(data.textFile(file('')).length, 0)
})
