//! The inner product of every convolution: a block of results in registers, with both operands found through tables of
//! offsets. The tables stand for im2col: a patch is read where it lies and never copied.
use super::super::real::Real;
use pulp::Simd;

/// Most vectors that a block of results has along its vector side.
pub(super) const MAX_VECTORS: usize = 4;

/// Where the two factors of each term of a sum lie, relative to the block's bases.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub scalars: &'a [u32],
    pub vectors: &'a [u32],
}

/// A strip of results: `rows` by `vectors` registers. Row `r` and vector `v` get the sum over terms `k` of
/// `scalar_base[row(r) + scalars[k]] * vector_base[vectors[k] + spread(v)..]`.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a, T> {
    pub terms: Terms<'a>,
    pub scalar_base: *const T,
    /// Offsets of the rows' scalars.
    pub rows: &'a [u32],
    pub vector_base: *const T,
    /// Vectors a row, at most [`MAX_VECTORS`].
    pub vectors: usize,
    /// Offsets of the vectors, if they don't lie side by side; both in the factors and in the results.
    pub spread: Option<[usize; MAX_VECTORS]>,
    pub result: *mut T,
    pub result_stride: usize,
    /// Whether the results are added to what is there.
    pub accumulate: bool,
    /// A number to add to each row at the end.
    pub bias: Option<&'a [T]>,
}

/// Vectors a row that leave registers for enough rows.
pub(super) fn max_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MAX_VECTORS } else { 2 }
}

/// # Safety
/// Every offset stays within its operand; `bias` and `rows` have one element a row.
#[inline(always)]
pub(super) unsafe fn strip<T: Real, S: Simd>(simd: S, s: Strip<'_, T>) {
    unsafe { if s.spread.is_some() { spread_strip::<T, S>(simd, s) } else { dense_strip::<T, S>(simd, s) } }
}

// Rows that fit the registers beside the vectors: 24 accumulators of 32 registers, 12 of 16. Nine suits a 3x3 kernel's taps.
#[inline(always)]
unsafe fn dense_strip<T: Real, S: Simd>(simd: S, s: Strip<'_, T>) {
    unsafe {
        let n = s.rows.len();
        match s.vectors {
            4 => blocks::<T, S, 6, 4, false>(simd, s),
            3 => blocks::<T, S, 8, 3, false>(simd, s),
            2 if S::REGISTER_COUNT < 32 => blocks::<T, S, 6, 2, false>(simd, s),
            2 if n.div_ceil(9) * 9 < n.div_ceil(8) * 8 => blocks::<T, S, 9, 2, false>(simd, s),
            2 => blocks::<T, S, 8, 2, false>(simd, s),
            _ if n.div_ceil(9) * 9 < n.div_ceil(8) * 8 => blocks::<T, S, 9, 1, false>(simd, s),
            _ => blocks::<T, S, 8, 1, false>(simd, s),
        }
    }
}

#[inline(always)]
unsafe fn spread_strip<T: Real, S: Simd>(simd: S, s: Strip<'_, T>) {
    unsafe {
        match (s.rows.len(), s.vectors) {
            (1, 4) => blocks::<T, S, 1, 4, true>(simd, s),
            (1, 3) => blocks::<T, S, 1, 3, true>(simd, s),
            (1, 2) => blocks::<T, S, 1, 2, true>(simd, s),
            (1, _) => blocks::<T, S, 1, 1, true>(simd, s),
            (_, 4) => blocks::<T, S, 6, 4, true>(simd, s),
            (_, 3) => blocks::<T, S, 8, 3, true>(simd, s),
            (_, 2) if S::REGISTER_COUNT < 32 => blocks::<T, S, 6, 2, true>(simd, s),
            (_, 2) => blocks::<T, S, 8, 2, true>(simd, s),
            (_, _) => blocks::<T, S, 8, 1, true>(simd, s),
        }
    }
}

/// Cuts the rows into blocks of `R`. Missing rows of the last one repeat its last row: they compute and store the same.
#[inline(always)]
unsafe fn blocks<T: Real, S: Simd, const R: usize, const V: usize, const SPREAD: bool>(simd: S, s: Strip<'_, T>) {
    let mut first = 0;
    while first < s.rows.len() {
        let row: [usize; R] = std::array::from_fn(|r| (first + r).min(s.rows.len() - 1));
        unsafe { block::<T, S, R, V, SPREAD>(simd, &s, row) };
        first += R;
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)] // Loops over constants that must unroll: indices keep the arrays in registers.
unsafe fn block<T: Real, S: Simd, const R: usize, const V: usize, const SPREAD: bool>(simd: S, s: &Strip<'_, T>, row: [usize; R]) {
    unsafe {
        let lanes = T::lanes::<S>();
        let spread = s.spread.unwrap_or_default();
        let at = |v: usize| if SPREAD { spread[v] } else { v * lanes };
        let scalars: [*const T; R] = row.map(|r| s.scalar_base.add(s.rows[r] as usize));
        let mut sums = [[T::splat(simd, T::ZERO); V]; R];
        for (scalar, vector) in s.terms.scalars.iter().zip(s.terms.vectors) {
            let base = s.vector_base.add(*vector as usize);
            let mut factors = [T::splat(simd, T::ZERO); V];
            for v in 0..V {
                factors[v] = T::load::<S>(base.add(at(v)));
            }
            for r in 0..R {
                let x = T::splat(simd, *scalars[r].add(*scalar as usize));
                for v in 0..V {
                    sums[r][v] = T::mul_add(simd, x, factors[v], sums[r][v]);
                }
            }
        }
        if s.accumulate {
            // All loads come before the first store: a repeated row must not count twice.
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = T::plus(simd, T::load::<S>(s.result.add(row[r] * s.result_stride + at(v))), sums[r][v]);
                }
            }
        }
        for r in 0..R {
            let bias = s.bias.map(
                #[inline(always)]
                |b| T::splat(simd, b[row[r]]),
            );
            for v in 0..V {
                if let Some(b) = bias {
                    sums[r][v] = T::plus(simd, sums[r][v], b);
                }
                T::store::<S>(s.result.add(row[r] * s.result_stride + at(v)), sums[r][v]);
            }
        }
    }
}

/// Copies `len` elements; short runs are the rule and a call to `memcpy` costs more than the copy.
///
/// # Safety
/// Both runs are valid and don't overlap.
#[inline(always)]
pub(super) unsafe fn copy<T: Real, S: Simd>(from: *const T, to: *mut T, len: usize) {
    unsafe {
        let lanes = T::lanes::<S>();
        if len < lanes {
            for i in 0..len {
                *to.add(i) = *from.add(i);
            }
            return;
        }
        let mut i = 0;
        while i + lanes <= len {
            T::store::<S>(to.add(i), T::load::<S>(from.add(i)));
            i += lanes;
        }
        if i < len {
            T::store::<S>(to.add(len - lanes), T::load::<S>(from.add(len - lanes)));
        }
    }
}
