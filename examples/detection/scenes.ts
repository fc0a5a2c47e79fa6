// Scenes of handwritten digits, each at a size and a place of its own, and boxes around them.
import { data, fromTypedArray, rand, type Tensor } from 'wick-ml'

/** Pixels of a scene's side, and of a grid cell's. */
export const [size, stride] = [64, 8]
/** Cells of a grid's side. */
export const cells = size / stride
/** The most digits in a scene. */
const most = 4

/**
 * Scenes; what is in each cell: 1 or 0, digit, center in the cell and logarithm of width and height; boxes as rows
 * `[scene, x1, y1, x2, y2, digit]`, as many for each scene: what it lacks is -1.
 */
export type Batch = [scenes: Tensor, grids: Tensor, boxes: Tensor]

/** `count` scenes of the `digits` digits from `first` on. */
export function compose(count: number, first: number, digits: number) {
  const [images, labels] = data.mnist().train.tensors
  const pixels = images.narrow(0, first, digits).dataSync()
  const classes = labels.narrow(0, first, digits).dataSync()
  const numbers = rand([count * 32]).dataSync()
  let drawn = 0
  const random = (below: number) => Math.floor(Number(numbers[drawn++]) * below)
  const scenes = new Float32Array(count * size * size)
  const grids = new Float32Array(count * 6 * cells * cells)
  const boxes = new Float32Array(count * most * 6).fill(-1)

  /** Draws a digit in a square and gives the box around its ink. */
  function draw(scene: number, digit: number, left: number, top: number, side: number) {
    const box = { x1: size, y1: size, x2: 0, y2: 0 }
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const ink = Number(pixels[(digit * 28 + Math.floor((y * 28) / side)) * 28 + Math.floor((x * 28) / side)])
        if (ink < 0.2) continue
        scenes[(scene * size + top + y) * size + left + x] = ink
        box.x1 = Math.min(box.x1, left + x)
        box.y1 = Math.min(box.y1, top + y)
        box.x2 = Math.max(box.x2, left + x + 1)
        box.y2 = Math.max(box.y2, top + y + 1)
      }
    }
    return box
  }

  for (let scene = 0; scene < count; scene++) {
    const centers: [x: number, y: number][] = []
    const wanted = 1 + random(most)
    for (let trial = 0; trial < 7 && centers.length < wanted; trial++) {
      const [digit, side] = [random(digits), 18 + random(19)]
      const [left, top] = [random(size - side), random(size - side)]
      const center: [number, number] = [left + side / 2, top + side / 2]
      if (centers.some(([x, y]) => Math.hypot(center[0] - x, center[1] - y) < 20)) continue
      const { x1, y1, x2, y2 } = draw(scene, digit, left, top, side)
      const label = Number(classes[digit])
      boxes.set([scene, x1, y1, x2, y2, label], (scene * most + centers.length) * 6)
      const [x, y] = [(x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride]
      for (const [i, value] of [1, label, x % 1, y % 1, Math.log(x2 - x1), Math.log(y2 - y1)].entries()) {
        grids[((scene * 6 + i) * cells + Math.floor(y)) * cells + Math.floor(x)] = value
      }
      centers.push(center)
    }
  }
  return new data.TensorDataset<Batch>(
    fromTypedArray(scenes, [count, 1, size, size]),
    fromTypedArray(grids, [count, 6, cells, cells]),
    fromTypedArray(boxes, [count, most, 6]),
  )
}
