/** COCO's matching of found boxes with those that are there, and the precisions and recalls that follow. */

/** Corners: left, top, right, bottom. */
export type Box = readonly [left: number, top: number, right: number, bottom: number]
/** A box that was found. */
export interface Detection {
  box: Box
  score: number
}
/** A box that is there. */
export interface GroundTruth {
  box: Box
  area: number
  isCrowd: boolean
}
/** Boxes of one class in an image. */
export interface Image {
  found: readonly Detection[]
  wanted: readonly GroundTruth[]
}
/** Areas that count, from and to. */
export type Areas = readonly [from: number, to: number]
/** By overlap threshold; -1 where there is nothing to find. */
export interface Evaluation {
  /** Mean over the recall thresholds. */
  precision: number[]
  recall: number[]
}

/** A found box after matching: whether it hit, or doesn't count, at each threshold. */
interface Match {
  score: number
  hit: boolean[]
  ignored: boolean[]
}

/** Evaluates the boxes of one class, of which at most `limit` an image count. */
export function evaluateClass(
  images: readonly Image[],
  ious: readonly number[],
  recalls: readonly number[],
  areas: Areas,
  limit: number,
): Evaluation {
  const matched = images.map(image => matchImage(image, ious, areas, limit))
  const wanted = matched.reduce((sum, { wanted }) => sum + wanted, 0)
  if (wanted === 0) return { precision: ious.map(() => -1), recall: ious.map(() => -1) }
  const matches = matched.flatMap(m => m.matches).sort((a, b) => b.score - a.score)
  const results = ious.map((_, t) => curve(matches, t, wanted, recalls))
  return { precision: results.map(r => r.precision), recall: results.map(r => r.recall) }
}

function curve(matches: readonly Match[], t: number, wanted: number, recalls: readonly number[]) {
  let [tp, fp] = [0, 0]
  const points: { recall: number; precision: number }[] = []
  for (const { hit, ignored } of matches) {
    if (ignored[t]) continue
    if (hit[t]) tp++
    else fp++
    points.push({ recall: tp / wanted, precision: tp / (tp + fp) })
  }
  // Precision never rises with recall.
  for (let i = points.length - 2; i >= 0; i--) {
    points[i]!.precision = Math.max(points[i]!.precision, points[i + 1]!.precision)
  }
  let at = 0
  let sum = 0
  for (const recall of recalls) {
    while (at < points.length && points[at]!.recall < recall) at++
    sum += points[at]?.precision ?? 0
  }
  return { precision: sum / recalls.length, recall: points.at(-1)?.recall ?? 0 }
}

function matchImage({ found, wanted }: Image, ious: readonly number[], [from, to]: Areas, limit: number) {
  const isOutside = (area: number) => area < from || area > to
  const truths = wanted
    .map(truth => ({ ...truth, ignored: truth.isCrowd || isOutside(truth.area) }))
    .sort((a, b) => Number(a.ignored) - Number(b.ignored))
  const detections = [...found].sort((a, b) => b.score - a.score).slice(0, limit)
  const overlaps = detections.map(d => truths.map(truth => overlap(d.box, truth)))
  const matches = detections.map(
    ({ score }): Match => ({ score, hit: ious.map(() => false), ignored: ious.map(() => false) }),
  )
  for (const [t, iou] of ious.entries()) {
    const taken = truths.map(() => false)
    for (const [d, detection] of detections.entries()) {
      let best = Math.min(iou, 1 - 1e-10)
      let match = -1
      for (const [g, truth] of truths.entries()) {
        if (taken[g] && !truth.isCrowd) continue
        // A truth that counts is never given up for one that doesn't.
        if (match > -1 && !truths[match]!.ignored && truth.ignored) break
        if (overlaps[d]![g]! < best) continue
        best = overlaps[d]![g]!
        match = g
      }
      const own = matches[d]!
      if (match === -1) {
        own.ignored[t] = isOutside(areaOf(detection.box))
        continue
      }
      taken[match] = true
      own.hit[t] = true
      own.ignored[t] = truths[match]!.ignored
    }
  }
  return { matches, wanted: truths.filter(truth => !truth.ignored).length }
}

function areaOf([left, top, right, bottom]: Box): number {
  return (right - left) * (bottom - top)
}

/** Intersection over union; over the found box's area if the truth is a crowd. */
function overlap(box: Box, truth: GroundTruth): number {
  const width = Math.min(box[2], truth.box[2]) - Math.max(box[0], truth.box[0])
  const height = Math.min(box[3], truth.box[3]) - Math.max(box[1], truth.box[1])
  if (width <= 0 || height <= 0) return 0
  const shared = width * height
  return shared / (truth.isCrowd ? areaOf(box) : areaOf(box) + areaOf(truth.box) - shared)
}
