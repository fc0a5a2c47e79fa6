//! Transposition between planes of pixels and pixels with their channels side by side.
use super::super::real::Real;
use pulp::{Simd, WithSimd};

/// `to[c * to_stride + r] = from[r * from_stride + c] + bias[c]`, or that added to what is there. Run it within a vectorised
/// kernel by [`Transpose::run`], from outside through `pulp`'s dispatch.
#[derive(Clone, Copy)]
pub(super) struct Transpose<'a, T> {
    pub from: *const T,
    pub from_stride: usize,
    pub to: *mut T,
    pub to_stride: usize,
    pub rows: usize,
    pub columns: usize,
    pub bias: Option<&'a [T]>,
    pub accumulate: bool,
}

impl<T: Real> WithSimd for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: whoever makes a `Transpose` vouches for its matrices.
        unsafe { self.run::<S>() }
    }
}

const B: usize = 8;

impl<T: Real> Transpose<'_, T> {
    /// # Safety
    /// Both matrices are valid and don't overlap; `bias` has an element a column.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(self) {
        let (whole_rows, whole_columns) = (self.rows / B * B, self.columns / B * B);
        unsafe {
            for c in (0..whole_columns).step_by(B) {
                for r in (0..whole_rows).step_by(B) {
                    self.block::<S>(r, c);
                }
                for r in whole_rows..self.rows {
                    for c in c..c + B {
                        self.one(r, c);
                    }
                }
            }
            for c in whole_columns..self.columns {
                for r in 0..self.rows {
                    self.one(r, c);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn block<S: Simd>(&self, r: usize, c: usize) {
        unsafe {
            let mut tile = [[T::ZERO; B]; B];
            for (i, line) in tile.iter_mut().enumerate() {
                *line = self.from.add((r + i) * self.from_stride + c).cast::<[T; B]>().read_unaligned();
            }
            let tile = T::transpose8::<S>(tile);
            for (j, mut line) in tile.into_iter().enumerate() {
                let to = self.to.add((c + j) * self.to_stride + r).cast::<[T; B]>();
                if let Some(bias) = self.bias {
                    let add = *bias.get_unchecked(c + j);
                    for v in &mut line {
                        *v += add;
                    }
                }
                if self.accumulate {
                    let old = to.read_unaligned();
                    for (v, old) in line.iter_mut().zip(old) {
                        *v = old + *v;
                    }
                }
                to.write_unaligned(line);
            }
        }
    }

    #[inline(always)]
    unsafe fn one(&self, r: usize, c: usize) {
        unsafe {
            let mut x = *self.from.add(r * self.from_stride + c);
            if let Some(bias) = self.bias {
                x += *bias.get_unchecked(c);
            }
            let to = self.to.add(c * self.to_stride + r);
            *to = if self.accumulate { *to + x } else { x };
        }
    }
}
