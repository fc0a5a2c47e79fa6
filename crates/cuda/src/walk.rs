//! How a pointwise kernel goes through memory: dimensions merged where every operand allows it, and vectors along the innermost.
use wick_core::shape::{Layout, MAX_RANK, Shape};

/// An operand's place: its address, the bytes of an element and its strides under the result's shape.
#[derive(Clone, Copy)]
pub struct Place {
    pub ptr: u64,
    pub size: usize,
    pub strides: [usize; MAX_RANK],
}
impl Place {
    /// `layout` broadcast to `shape`: aligned at the last dimension, stride 0 where it has one element or no dimension.
    pub fn new(ptr: u64, size: usize, layout: &Layout, shape: &Shape) -> Place {
        let mut strides = [0; MAX_RANK];
        let dims = layout.shape.iter().zip(layout.strides()).rev();
        for (to, (dim, stride)) in strides[..shape.rank()].iter_mut().rev().zip(dims) {
            *to = if *dim == 1 { 0 } else { *stride };
        }
        Place { ptr, size, strides }
    }
}

/// Dimensions of a space that several operands share, innermost first; there is at least one.
pub struct Merged {
    pub rank: usize,
    pub sizes: [usize; MAX_RANK],
    /// In elements, by operand.
    pub strides: Vec<[usize; MAX_RANK]>,
}
impl Merged {
    /// The space of `operands` under `shape`, in the order in which operand `written` lies in memory.
    pub fn new(shape: &Shape, operands: &[[usize; MAX_RANK]], written: usize) -> Merged {
        let mut m = Merged { rank: 0, sizes: [1; MAX_RANK], strides: vec![[0; MAX_RANK]; operands.len()] };
        let (mut dims, mut count) = ([0; MAX_RANK], 0);
        for d in (0..shape.rank()).rev().filter(|d| shape[*d] != 1) {
            dims[count] = d;
            count += 1;
        }
        dims[..count].sort_by_key(|d| operands[written][*d]);
        for d in &dims[..count] {
            let last = m.rank.wrapping_sub(1);
            if m.rank > 0 && operands.iter().zip(&m.strides).all(|(o, s)| o[*d] == s[last] * m.sizes[last]) {
                m.sizes[last] *= shape[*d];
            } else {
                m.sizes[m.rank] = shape[*d];
                for (s, o) in m.strides.iter_mut().zip(operands) {
                    s[m.rank] = o[*d];
                }
                m.rank += 1;
            }
        }
        if m.rank == 0 {
            // One element: whatever order.
            m.rank = 1;
            m.strides.iter_mut().for_each(|s| s[0] = 1);
        }
        m
    }
    /// Element `i` of the space is the operand's `i`-th in memory.
    pub fn is_linear(&self, operand: usize) -> bool {
        let mut dense = 1;
        self.strides[operand][..self.rank].iter().zip(&self.sizes).all(|(stride, size)| {
            let fits = *stride == dense;
            dense *= size;
            fits
        })
    }
    /// One element stands for all.
    fn is_one(&self, operand: usize) -> bool {
        self.strides[operand][..self.rank].iter().all(|s| *s == 0)
    }
    fn numel(&self) -> usize {
        self.sizes[..self.rank].iter().product()
    }
    /// Elements from the first to the last that the operand touches.
    fn span(&self, operand: usize) -> usize {
        1 + self.strides[operand][..self.rank].iter().zip(&self.sizes).map(|(stride, size)| stride * (size - 1)).sum::<usize>()
    }
}

/// How the kernel finds an operand's elements; slots number the operands that have strides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// In a row, as the result's.
    Linear,
    /// By strides, a vector in a row.
    Walk(usize),
    /// By strides, one element for a vector.
    Spread(usize),
    /// One element for all.
    One,
}

/// A plan of the walk: what [`super::chain`] writes into a program and its arguments.
pub struct Walk {
    merged: Merged,
    /// By operand.
    pub how: Vec<How>,
    /// Of the operand whose offsets are row-major numbers, unless they are those of the walk.
    pub logical: Option<usize>,
    /// Elements of a vector.
    pub vector: usize,
    /// Dimensions in the kernel; 0 if no operand has strides.
    pub rank: usize,
    /// Offsets need more than 31 bits.
    pub wide: bool,
    pub numel: usize,
    /// Operands by slot.
    slots: Vec<usize>,
}

/// Bytes of a load.
const LOAD: usize = 16;

impl Walk {
    /// The walk over `places`, those from `outputs` on written. `numbered`: the kernel needs row-major numbers. `shape` has elements.
    pub fn new(shape: &Shape, places: &[Place], outputs: usize, numbered: bool) -> Walk {
        let mut strides: Vec<[usize; MAX_RANK]> = places.iter().map(|p| p.strides).collect();
        if numbered {
            strides.push(shape.strides());
        }
        let merged = Merged::new(shape, &strides, outputs);
        let linear: Vec<bool> = (0..strides.len()).map(|k| merged.is_linear(k)).collect();
        let one: Vec<bool> = (0..strides.len()).map(|k| k < outputs && !linear[k] && merged.is_one(k)).collect();
        let flat = linear.iter().zip(&one).all(|(linear, one)| linear | one);
        let mut walk = Walk {
            how: vec![],
            logical: None,
            vector: 1,
            rank: if flat { 0 } else { merged.rank },
            wide: false,
            numel: merged.numel(),
            slots: vec![],
            merged,
        };
        let moving = |k: &usize| !one[*k] && (flat || walk.merged.strides[*k][0] != 0);
        let widest = (0..places.len()).filter(moving).map(|k| places[k].size).max().unwrap_or(8);
        let mut vector = LOAD / widest;
        while vector > 1 && !(0..places.len()).filter(moving).all(|k| walk.allows(k, &places[k], vector)) {
            vector /= 2;
        }
        walk.vector = vector;
        for k in 0..strides.len() {
            let how = if linear[k] {
                How::Linear
            } else if one[k] {
                How::One
            } else {
                let slot = walk.slots.len();
                walk.slots.push(k);
                if walk.merged.strides[k][0] == 0 && vector > 1 { How::Spread(slot) } else { How::Walk(slot) }
            };
            if k < places.len() {
                walk.how.push(how);
            } else if let How::Walk(slot) | How::Spread(slot) = how {
                walk.logical = Some(slot);
            }
        }
        let vectors = walk.vectors();
        walk.wide = vectors > i32::MAX as usize || walk.slots.iter().any(|k| walk.merged.span(*k) > i32::MAX as usize);
        walk
    }

    fn allows(&self, k: usize, place: &Place, vector: usize) -> bool {
        let m = &self.merged;
        let aligned = (place.ptr as usize).is_multiple_of(vector * place.size);
        let whole = |s: &usize| s.is_multiple_of(vector);
        aligned && (self.rank == 0 || m.sizes[0].is_multiple_of(vector) && m.strides[k][0] == 1 && m.strides[k][1..m.rank].iter().all(whole))
    }

    /// Vectors of the walk, the last of which may be partial if the rank is 0.
    pub fn vectors(&self) -> usize {
        self.numel.div_ceil(self.vector)
    }
    /// Operands with strides.
    pub fn walks(&self) -> usize {
        self.slots.len()
    }
    /// The row-major numbers of a vector follow each other.
    pub fn neighbours(&self) -> bool {
        self.logical.is_none_or(|slot| self.vector == 1 || self.merged.strides[self.slots[slot]][0] == 1)
    }

    /// Appends the kernel's words: dimensions, strides, the step of row-major numbers, the count.
    pub fn words(&self, to: &mut Vec<u64>) {
        let size = |d: usize| if d == 0 { self.merged.sizes[0] / self.vector } else { self.merged.sizes[d] };
        for d in 0..self.rank {
            if self.wide {
                to.extend([size(d) as u64, 0]);
            } else {
                let (magic, shift) = magic(size(d) as u32);
                to.extend([size(d) as u64 | (magic as u64) << 32, shift as u64]);
            }
        }
        if self.rank > 0 {
            for k in &self.slots {
                let strides = &self.merged.strides[*k];
                to.push((strides[0] * self.vector) as u64);
                to.extend(strides[1..self.rank].iter().map(|s| *s as u64));
            }
        }
        to.push(self.logical.map_or(1, |slot| self.merged.strides[self.slots[slot]][0]) as u64);
        to.push(self.numel as u64);
    }
}

/// `n / d = (high half of magic * n + n) >> shift` for n < 2^31: d's inverse, rounded up to 33 bits of which the first is 1.
fn magic(d: u32) -> (u32, u32) {
    let shift = d.next_power_of_two().trailing_zeros();
    let magic = ((1u64 << 32) * ((1u64 << shift) - d as u64)) / d as u64 + 1;
    (magic as u32, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(shape: &Shape, layouts: &[Layout]) -> Vec<Place> {
        layouts.iter().map(|l| Place::new(4096, 4, l, shape)).collect()
    }

    #[test]
    fn division() {
        for d in (1..2000).chain([4095, 4096, 4097, 65535, 1 << 20, (1 << 30) + 1, i32::MAX as u32]) {
            let (magic, shift) = magic(d);
            for n in (0..5000).chain((0..31).map(|b| (1 << b) - 1)).chain([d - 1, d, d.saturating_add(1)]).filter(|n| *n <= i32::MAX as u32) {
                let high = ((magic as u64 * n as u64) >> 32) as u32;
                assert_eq!((high + n) >> shift, n / d, "{n} / {d}");
            }
        }
    }

    /// The offsets that the kernel computes, by slot, of each vector.
    fn offsets(walk: &Walk) -> Vec<Vec<usize>> {
        let mut words = vec![];
        walk.words(&mut words);
        (0..walk.vectors())
            .map(|mut i| {
                let mut offsets = vec![0; walk.walks()];
                for d in 0..walk.rank {
                    let size = words[2 * d] as u32 as usize;
                    let at = if d + 1 < walk.rank { i % size } else { i };
                    i /= size;
                    for (n, o) in offsets.iter_mut().enumerate() {
                        *o += at * words[2 * walk.rank + n * walk.rank + d] as usize;
                    }
                }
                offsets
            })
            .collect()
    }

    #[test]
    fn dense_operands_are_flat() {
        let shape = Shape::new(&[3, 5, 2, 7]);
        let rows = Layout::contiguous(shape);
        let last = Layout::contiguous(Shape::new(&[3, 2, 7, 5])).permute(&[0, 3, 1, 2]);
        let one = Layout::contiguous(Shape::scalar());
        for dense in [rows, last] {
            let walk = Walk::new(&shape, &places(&shape, &[dense, one, dense]), 2, false);
            assert_eq!((walk.rank, walk.vector, walk.vectors()), (0, 4, 53));
            assert_eq!(walk.how, [How::Linear, How::One, How::Linear]);
        }
        // Row-major numbers of a channels-last result jump.
        let walk = Walk::new(&shape, &places(&shape, &[last, last]), 1, true);
        assert_eq!((walk.how.as_slice(), walk.logical, walk.neighbours()), ([How::Linear, How::Linear].as_slice(), Some(0), true));
        assert_eq!(walk.vector, 1);
        let mut unaligned = places(&shape, &[rows, rows]);
        unaligned[0].ptr += 8;
        assert_eq!(Walk::new(&shape, &unaligned, 1, true).vector, 2);
    }

    #[test]
    fn rows_and_channels() {
        let shape = Shape::new(&[6, 4, 8]);
        let dense = Layout::contiguous(shape);
        let row = Layout::contiguous(Shape::new(&[8]));
        let channel = Layout::contiguous(Shape::new(&[4, 1]));
        let walk = Walk::new(&shape, &places(&shape, &[row, channel, dense]), 2, false);
        assert_eq!((walk.rank, walk.vector), (3, 4));
        assert_eq!(walk.how, [How::Walk(0), How::Spread(1), How::Linear]);
        for (i, o) in offsets(&walk).iter().enumerate() {
            assert_eq!(o, &[i * 4 % 8, i * 4 / 8 % 4]);
        }
        let odd = Shape::new(&[6, 7]);
        let walk = Walk::new(&odd, &places(&odd, &[Layout::contiguous(Shape::new(&[7])), Layout::contiguous(odd)]), 1, false);
        assert_eq!((walk.rank, walk.vector, walk.how[0]), (2, 1, How::Walk(0)));
    }

    #[test]
    fn any_strides() {
        let shape = Shape::new(&[4, 6]);
        let transposed = Layout::contiguous(Shape::new(&[6, 4])).permute(&[1, 0]);
        let narrow = Layout::new(shape, &[12, 2], 0);
        let walk = Walk::new(&shape, &places(&shape, &[transposed, narrow, Layout::contiguous(shape)]), 2, true);
        assert_eq!((walk.rank, walk.vector, walk.logical, walk.walks()), (2, 1, None, 2));
        for (i, o) in offsets(&walk).iter().enumerate() {
            assert_eq!(o, &[i / 6 + i % 6 * 4, i * 2]);
        }
        // Written through strides.
        let walk = Walk::new(&shape, &places(&shape, &[narrow]), 0, false);
        assert_eq!((walk.rank, walk.how[0]), (1, How::Walk(0)));
        let scalar = Shape::scalar();
        let walk = Walk::new(&scalar, &places(&scalar, &[Layout::contiguous(Shape::new(&[1, 1])), Layout::contiguous(scalar)]), 1, true);
        assert_eq!((walk.rank, walk.how.as_slice()), (0, [How::Linear, How::Linear].as_slice()));
    }

    #[test]
    fn large_offsets() {
        let shape = Shape::new(&[1 << 16, 1 << 16]);
        let walk = Walk::new(&shape, &places(&shape, &[Layout::contiguous(shape).permute(&[1, 0]), Layout::contiguous(shape)]), 1, false);
        assert!(walk.wide && walk.rank == 2);
    }
}
