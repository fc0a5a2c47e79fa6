//! Copies between layouts of which one is contiguous along one dimension and the other along another: transposes, and
//! channels-last to channels-first and back, with or without a cast.
use crate::chain::tag;
use crate::gpu::{Gpu, Source, args};
use crate::walk::{Merged, Place};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::Result;

static SOURCE: Source = Source { name: "transpose", text: concat!(include_str!("kernels/pointwise.cu"), include_str!("kernels/transpose.cu")) };
/// Threads of a block, and the side of its tile in words of 4 bytes, as in `transpose.cu`.
const THREADS: u32 = 256;
const SIDE: usize = 32;
/// Dimensions besides the two that are turned.
const OUTER: usize = 6;
/// Thinner matrices gain nothing from tiles.
const THIN: usize = 8;

/// The same bits as `Plane` in `transpose.cu`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Plane {
    src: u64,
    dst: u64,
    rows: u64,
    cols: u64,
    src_stride: u64,
    dst_stride: u64,
    row_tiles: u32,
    col_tiles: u32,
    rank: u32,
    unused: u32,
    sizes: [u64; OUTER],
    src_strides: [u64; OUTER],
    dst_strides: [u64; OUTER],
}

/// A copy by tiles.
#[derive(PartialEq, Debug)]
pub struct Transpose {
    plane: Plane,
    from: DType,
    to: DType,
    /// Elements that move as one word.
    packed: usize,
    blocks: u32,
}

impl Transpose {
    /// The copy of `from` (broadcast) to `to`, if it is a transpose of matrices that are not thin.
    pub fn find(from: &Arg, to: &Arg) -> Option<Transpose> {
        let shape = &to.layout.shape;
        if from.layout == to.layout || shape.numel() < THIN * THIN {
            return None;
        }
        let places = [from, to].map(|a| Place::new(a.ptr as u64, a.dtype.size(), &a.layout, shape).strides);
        let m = Merged::new(shape, &places, 1);
        let (src, dst) = (&m.strides[0], &m.strides[1]);
        let row = (1..m.rank).find(|d| src[*d] == 1)?;
        if dst[0] != 1 || src[0] <= 1 || m.sizes[0] < THIN || m.sizes[row] < THIN {
            return None;
        }
        let mut plane = Plane {
            src: from.ptr as u64,
            dst: to.ptr as u64,
            rows: m.sizes[row] as u64,
            cols: m.sizes[0] as u64,
            src_stride: src[0] as u64,
            dst_stride: dst[row] as u64,
            ..Plane::default()
        };
        let mut outer = 1u64;
        for d in (1..m.rank).filter(|d| *d != row) {
            let k = plane.rank as usize;
            (plane.sizes[k], plane.src_strides[k], plane.dst_strides[k]) = (m.sizes[d] as u64, src[d] as u64, dst[d] as u64);
            plane.rank += 1;
            outer *= m.sizes[d] as u64;
        }
        let packed = if from.dtype == to.dtype { packing(&plane, from.dtype.size()) } else { 1 };
        let side = (SIDE * packed) as u64;
        let (down, across) = (plane.rows.div_ceil(side), plane.cols.div_ceil(side));
        let blocks = down.checked_mul(across)?.checked_mul(outer).filter(|b| *b <= i32::MAX as u64)? as u32;
        (plane.row_tiles, plane.col_tiles) = (down as u32, across as u32);
        Some(Transpose { plane, from: from.dtype, to: to.dtype, packed, blocks })
    }

    fn defines(&self) -> String {
        if self.from == self.to {
            same(self.from.size(), self.packed)
        } else {
            format!("--fmad=false FROM={} TO={} P=1", tag(self.from), tag(self.to))
        }
    }

    /// # Safety
    /// The operands that it was found for are still valid.
    pub unsafe fn run(&self, gpu: &Gpu) -> Result<()> {
        let f = gpu.kernel(&SOURCE, &self.defines(), "transpose")?;
        let plane = self.plane;
        gpu.launch(f, (self.blocks, 1, 1), (THREADS, 1, 1), 0, args![plane])
    }
}

/// Elements of `size` bytes that move as one word: as many as fit into 4 bytes, if every such group is aligned on both sides.
fn packing(p: &Plane, size: usize) -> usize {
    let packed = (4 / size).max(1) as u64;
    let outer = p.rank as usize;
    let strides = p.src_strides[..outer].iter().chain(&p.dst_strides[..outer]);
    let fits = [p.rows, p.cols, p.src_stride, p.dst_stride].iter().chain(strides).all(|n| n % packed == 0);
    if fits && (p.src | p.dst).is_multiple_of(4) { packed as usize } else { 1 }
}

/// Without a cast only the size of an element counts.
fn same(size: usize, packed: usize) -> String {
    let tag = match size {
        1 => "U8",
        2 => "B16",
        4 => "I32",
        _ => "I64",
    };
    format!("FROM={tag} TO={tag} P={packed}")
}

/// Every size of element, and some casts.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let mut texts: Vec<String> = [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1), (8, 1)].into_iter().map(|(size, packed)| same(size, packed)).collect();
    for (from, to) in [(DType::F32, DType::BF16), (DType::F16, DType::F32), (DType::U8, DType::F32), (DType::F64, DType::I64)] {
        texts.push(Transpose { plane: Plane::default(), from, to, packed: 1, blocks: 0 }.defines());
    }
    texts.into_iter().map(|text| (&SOURCE, text, vec!["transpose".to_string()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wick_core::shape::{Layout, Shape};

    fn arg(layout: Layout, dtype: DType, address: usize) -> Arg {
        Arg { ptr: std::ptr::without_provenance_mut(address), layout, dtype }
    }
    fn find(from: Layout, to: Layout, dtype: DType) -> Option<Transpose> {
        Transpose::find(&arg(from, dtype, 4096), &arg(to, dtype, 8192))
    }

    /// The target's offset and the source's of each element, as the kernel pairs them.
    fn pairs(t: &Transpose) -> Vec<(u64, u64)> {
        let (p, side) = (&t.plane, (SIDE * t.packed) as u64);
        let mut all = vec![];
        for block in 0..t.blocks as u64 {
            let (r0, c0) = (block % p.row_tiles as u64 * side, block / p.row_tiles as u64 % p.col_tiles as u64 * side);
            let mut outer = block / (p.row_tiles as u64 * p.col_tiles as u64);
            let (mut src, mut dst) = (0, 0);
            for d in 0..p.rank as usize {
                src += outer % p.sizes[d] * p.src_strides[d];
                dst += outer % p.sizes[d] * p.dst_strides[d];
                outer /= p.sizes[d];
            }
            for r in r0..(r0 + side).min(p.rows) {
                for c in c0..(c0 + side).min(p.cols) {
                    all.push((dst + r * p.dst_stride + c, src + c * p.src_stride + r));
                }
            }
        }
        all.sort();
        all
    }
    fn expected(from: &Layout, to: &Layout) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = (0..to.numel())
            .map(|mut n| {
                let (mut s, mut t) = (0, 0);
                for d in (0..to.rank()).rev() {
                    s += n % to.shape[d] * from.strides()[d];
                    t += n % to.shape[d] * to.strides()[d];
                    n /= to.shape[d];
                }
                (t as u64, s as u64)
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn every_element_is_moved_once() {
        let last = |n, c, h, w| Layout::contiguous(Shape::new(&[n, h, w, c])).permute(&[0, 3, 1, 2]);
        let first = |n, c, h, w| Layout::contiguous(Shape::new(&[n, c, h, w]));
        for (from, to, packed) in [
            (first(3, 16, 8, 10), last(3, 16, 8, 10), 2),
            (last(3, 16, 8, 10), first(3, 16, 8, 10), 2),
            (last(2, 40, 7, 7), first(2, 40, 7, 7), 1),
            (Layout::contiguous(Shape::new(&[70, 130])).permute(&[1, 0]), Layout::contiguous(Shape::new(&[130, 70])), 2),
            // The turned dimensions lie around others, which the source repeats.
            (Layout::new(Shape::new(&[3, 9, 2, 12]), &[0, 1, 9, 18], 0), Layout::contiguous(Shape::new(&[3, 9, 2, 12])), 1),
        ] {
            let t = find(from, to, DType::BF16).unwrap();
            assert_eq!(t.packed, packed);
            assert_eq!(pairs(&t), expected(&from, &to));
        }
    }

    #[test]
    fn what_is_no_transpose() {
        let (rows, thin) = (Layout::contiguous(Shape::new(&[64, 64])), Layout::contiguous(Shape::new(&[3, 640])));
        assert_eq!(find(rows, rows, DType::F32), None);
        assert_eq!(find(thin.permute(&[1, 0]), Layout::contiguous(Shape::new(&[640, 3])), DType::F32), None);
        let turned = rows.permute(&[1, 0]);
        assert_eq!(find(turned, rows, DType::U8).unwrap().packed, 4);
        let t = Transpose::find(&arg(turned, DType::U8, 4098), &arg(rows, DType::U8, 8192)).unwrap();
        assert_eq!(t.packed, 1);
        let t = Transpose::find(&arg(turned, DType::F32, 4096), &arg(rows, DType::BF16, 8192)).unwrap();
        assert_eq!((t.packed, t.defines().as_str()), (1, "--fmad=false FROM=F32 TO=BF16 P=1"));
    }
}
