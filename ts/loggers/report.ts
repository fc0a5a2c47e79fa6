/** The report of a run: one HTML file with its curves, which needs nothing else. */
import type { LoggedHistogram } from './logger.ts'

/** A metric's values over the steps. */
export interface Curve {
  name: string
  points: (readonly [step: number, value: number])[]
}

/** What a report shows. */
export interface ReportContents {
  title: string
  /** Lines of a table. */
  facts: (readonly [name: string, value: string])[]
  curves: readonly Curve[]
  /** PNG files. */
  images: readonly { name: string; step: number; png: Uint8Array }[]
  histograms: readonly { name: string; step: number; histogram: LoggedHistogram }[]
  /** Further text, such as the configuration. */
  details: readonly { title: string; text: string }[]
}

const WIDTH = 520
const HEIGHT = 260
const MARGIN = { left: 64, right: 12, top: 12, bottom: 32 }
const COLORS = ['#1f6feb', '#d9480f', '#2b8a3e', '#862e9c', '#087f5b', '#a61e4d']

/** The report as HTML. */
export function reportHtml({ title, facts, curves, images, histograms, details }: ReportContents): string {
  const charts = [...groups(curves)].map(
    ([name, group]) => `<figure><figcaption>${escaped(name)}</figcaption>${chart(group)}</figure>`,
  )
  const pictures = images.map(({ name, step, png }) => {
    const data = `data:image/png;base64,${Buffer.from(png).toString('base64')}`
    return `<figure><figcaption>${escaped(name)}, step ${step}</figcaption><img alt="${escaped(name)}" src="${data}"></figure>`
  })
  const bars = histograms.map(
    ({ name, step, histogram }) =>
      `<figure><figcaption>${escaped(name)}, step ${step}</figcaption>${barChart(histogram)}</figure>`,
  )
  const rows = facts.map(([name, value]) => `<tr><th>${escaped(name)}</th><td>${escaped(value)}</td></tr>`)
  const texts = details.map(
    ({ title: summary, text }) =>
      `<details><summary>${escaped(summary)}</summary><pre>${escaped(text)}</pre></details>`,
  )
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>
body { font: 15px system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; padding: 0 1rem; color: #1c1e21 }
figure { display: inline-block; margin: 0 1rem 1.5rem 0; vertical-align: top } figcaption { font-weight: 600; margin-bottom: .3rem }
svg { width: ${WIDTH}px; max-width: 100% } svg text { font-size: 11px; fill: #555 } img { min-width: 128px; image-rendering: pixelated }
table { border-collapse: collapse; margin-bottom: 1.5rem } th { text-align: left; padding-right: 1.5rem; font-weight: 500; color: #555 }
pre { background: #f4f5f7; padding: 1rem; overflow: auto } summary { cursor: pointer; margin: .5rem 0 }
</style>
<h1>${escaped(title)}</h1>
<table>${rows.join('')}</table>
${[...charts, ...bars, ...pictures].join('\n')}
${texts.join('\n')}
</html>
`
}

/** Curves that belong in one chart: those of training and evaluation of one metric. */
function groups(curves: readonly Curve[]): Map<string, Curve[]> {
  const found = new Map<string, Curve[]>()
  for (const curve of curves) {
    const name = curve.name.replace(/^(train|eval|evaluation)_/, '').replace(/_epoch$/, '')
    found.set(name, [...(found.get(name) ?? []), curve])
  }
  return found
}

function chart(curves: readonly Curve[]): string {
  const finite = curves.map(({ name, points }) => ({
    name,
    points: points.filter(([, value]) => Number.isFinite(value)),
  }))
  const all = finite.flatMap(({ points }) => points)
  if (all.length === 0) return '<p>No finite values</p>'
  const x = scale(
    all.map(([step]) => step),
    MARGIN.left,
    WIDTH - MARGIN.right,
  )
  const y = scale(
    all.map(([, value]) => value),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  )
  const lines = finite.map(({ name, points }, i) => {
    const color = COLORS[i % COLORS.length]
    const path = thinned(points).map(([step, value]) => `${x.at(step).toFixed(1)},${y.at(value).toFixed(1)}`)
    const mark =
      path.length === 1
        ? `<circle cx="${path[0]?.split(',')[0]}" cy="${path[0]?.split(',')[1]}" r="3" fill="${color}"/>`
        : ''
    const label = `${name}: ${short(points.at(-1)?.[1] ?? Number.NaN)}`
    const legend = `<text x="${WIDTH - MARGIN.right}" y="${MARGIN.top + 12 + 14 * i}" text-anchor="end" style="fill:${color}">${escaped(label)}</text>`
    return `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${path.join(' ')}"/>${mark}${legend}`
  })
  return svg(axes(x, y) + lines.join(''))
}

function barChart({ edges, counts }: LoggedHistogram): string {
  const x = scale([edges[0] ?? 0, edges.at(-1) ?? 1], MARGIN.left, WIDTH - MARGIN.right)
  const y = scale([0, ...counts], HEIGHT - MARGIN.bottom, MARGIN.top)
  const bars = counts.map((count, i) => {
    const [left, right, top] = [x.at(edges[i] ?? 0), x.at(edges[i + 1] ?? 0), y.at(count)]
    const size = `width="${Math.max(right - left - 1, 1).toFixed(1)}" height="${(HEIGHT - MARGIN.bottom - top).toFixed(1)}"`
    return `<rect x="${left.toFixed(1)}" y="${top.toFixed(1)}" ${size} fill="${COLORS[0]}"/>`
  })
  return svg(axes(x, y) + bars.join(''))
}

interface Scale {
  at(value: number): number
  ticks: number[]
}

/** Maps values linearly to pixels from `from` to `to`. */
function scale(values: readonly number[], from: number, to: number): Scale {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const v of values) [min, max] = [Math.min(min, v), Math.max(max, v)]
  if (max === min) [min, max] = [min - (Math.abs(min) || 1) / 2, max + (Math.abs(max) || 1) / 2]
  const rough = (max - min) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find(n => n * power >= rough) ?? 10)
  const ticks: number[] = []
  for (let i = Math.ceil(min / step); i * step <= max; i++) ticks.push(i * step)
  return { at: value => from + ((value - min) / (max - min)) * (to - from), ticks }
}

function axes(x: Scale, y: Scale): string {
  const bottom = HEIGHT - MARGIN.bottom
  const across = y.ticks.map(value => {
    const at = y.at(value).toFixed(1)
    const line = `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}" stroke="#e3e5e8"/>`
    return `${line}<text x="${MARGIN.left - 6}" y="${at}" dy="4" text-anchor="end">${short(value)}</text>`
  })
  const along = x.ticks.map(
    value => `<text x="${x.at(value).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${short(value)}</text>`,
  )
  return `${across.join('')}${along.join('')}<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${bottom}" y2="${bottom}" stroke="#999"/>`
}

const svg = (content: string) => `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">${content}</svg>`
const short = (value: number) => String(Number(value.toPrecision(4)))
const escaped = (text: string) => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)

/** At most 1000 of the points, the last one among them. */
function thinned<T>(points: readonly T[]): readonly T[] {
  const every = Math.ceil(points.length / 1000)
  return every === 1 ? points : points.filter((_, i) => i % every === 0 || i === points.length - 1)
}
