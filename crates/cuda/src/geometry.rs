//! Iteration spaces: shapes and strides as kernels get them, by value.
use wick_core::shape::{Layout, MAX_RANK, Shape};

/// One iteration space shared by `N` operands, the same bits as `Space` in `common.cuh`: strides in elements, innermost
/// dimension last, dimensions of size 1 dropped and neighbours merged wherever every operand allows it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Space<const N: usize> {
    pub rank: i32,
    pub numel: u64,
    pub sizes: [u64; MAX_RANK],
    pub strides: [[u64; MAX_RANK]; N],
}

impl<const N: usize> Space<N> {
    /// The space of `operands`, each of `shape`. **The last operand is the one written**: dimensions are put into its memory
    /// order (a channels-last result is walked as it lies). A kernel that needs an element's row-major number passes
    /// `Layout::contiguous(shape)` as one more operand: its offset is that number.
    pub fn new(shape: &Shape, operands: [&Layout; N]) -> Space<N> {
        let mut space = Space { rank: 0, numel: shape.numel() as u64, sizes: [0; MAX_RANK], strides: [[0; MAX_RANK]; N] };
        if space.numel == 0 {
            return space;
        }
        let mut dims = [0usize; MAX_RANK];
        let mut rank = 0;
        for (d, size) in shape.iter().enumerate() {
            if *size != 1 {
                dims[rank] = d;
                rank += 1;
            }
        }
        if let Some(written) = operands.last() {
            // Stable: dimensions of equal stride (broadcast ones) stay in order.
            dims[..rank].sort_by_key(|d| std::cmp::Reverse(written.strides()[*d]));
        }
        for d in &dims[..rank] {
            let size = shape[*d] as u64;
            let stride = |k: usize| operands[k].strides()[*d] as u64;
            let last = space.rank as usize;
            if last > 0 && (0..N).all(|k| space.strides[k][last - 1] == stride(k) * size) {
                space.sizes[last - 1] *= size;
                (0..N).for_each(|k| space.strides[k][last - 1] = stride(k));
            } else {
                space.sizes[last] = size;
                (0..N).for_each(|k| space.strides[k][last] = stride(k));
                space.rank += 1;
            }
        }
        space
    }

    /// Every operand is dense and in the same order: element `i` of the space lies at offset `i` in each.
    pub fn contiguous(&self) -> bool {
        self.rank == 0 || (self.rank == 1 && self.strides.iter().all(|s| s[0] == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets that a kernel computes for element `index`.
    fn offsets<const N: usize>(space: &Space<N>, mut index: u64) -> [u64; N] {
        let mut out = [0; N];
        for d in (0..space.rank as usize).rev() {
            let at = if d == 0 { index } else { index % space.sizes[d] };
            index /= space.sizes[d];
            for (o, s) in out.iter_mut().zip(&space.strides) {
                *o += at * s[d];
            }
        }
        out
    }

    /// Every pair of offsets that belongs together, by definition.
    fn pairs(a: &Layout, b: &Layout) -> Vec<[u64; 2]> {
        let shape = a.shape.to_vec();
        let mut all: Vec<[u64; 2]> = (0..a.numel())
            .map(|mut n| {
                let mut at = [0; 2];
                for d in (0..shape.len()).rev() {
                    let i = n % shape[d];
                    n /= shape[d];
                    at[0] += (i * a.strides()[d]) as u64;
                    at[1] += (i * b.strides()[d]) as u64;
                }
                at
            })
            .collect();
        all.sort();
        all
    }

    fn check(a: &Layout, b: &Layout, rank: i32) {
        let space = Space::new(&a.shape, [a, b]);
        assert_eq!(space.rank, rank, "{a:?} {b:?}");
        let mut got: Vec<[u64; 2]> = (0..space.numel).map(|i| offsets(&space, i)).collect();
        got.sort();
        assert_eq!(got, pairs(a, b));
    }

    #[test]
    fn merged() {
        let shape = Shape::new(&[2, 3, 1, 4, 5]);
        let dense = Layout::contiguous(shape);
        check(&dense, &dense, 1);
        assert!(Space::new(&shape, [&dense, &dense]).contiguous());
        let row = Layout::contiguous(Shape::new(&[4, 5])).expand(&shape);
        check(&row, &dense, 2);
        let column = Layout::contiguous(Shape::new(&[2, 3, 1, 1, 1])).expand(&shape);
        check(&column, &dense, 2);
        let transposed = Layout::contiguous(Shape::new(&[5, 4])).permute(&[1, 0]);
        check(&transposed, &Layout::contiguous(Shape::new(&[4, 5])), 2);
        let narrow = dense.narrow(1, 1, 2, 1);
        check(&narrow, &Layout::contiguous(narrow.shape), 2);
    }

    #[test]
    fn written_order() {
        // Channels-last operands are one dimension; a mixed pair is walked in the order of the written one.
        let nhwc = Layout::contiguous(Shape::new(&[2, 4, 5, 3])).permute(&[0, 3, 1, 2]);
        let nchw = Layout::contiguous(nhwc.shape);
        let space = Space::new(&nhwc.shape, [&nhwc, &nhwc]);
        assert!(space.contiguous() && space.rank == 1);
        check(&nchw, &nhwc, 3);
        let space = Space::new(&nhwc.shape, [&nchw, &nhwc]);
        assert_eq!(space.strides[1][2], 1);
        check(&nhwc, &nchw, 3);
    }

    #[test]
    fn small() {
        for dims in [&[][..], &[1], &[1, 1], &[7], &[0], &[3, 0, 2]] {
            let l = Layout::contiguous(Shape::new(dims));
            let space = Space::new(&l.shape, [&l]);
            assert!(space.contiguous() && space.numel == l.numel() as u64);
        }
        let scalar = Layout::contiguous(Shape::scalar()).expand(&Shape::new(&[6]));
        assert!(!Space::new(&scalar.shape, [&scalar]).contiguous());
    }
}
