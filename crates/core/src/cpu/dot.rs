//! `a [m, k] @ b [n, k]^T` for float32 matrices whose rows both lie along `k`: a layer's forward pass. A general gemm packs
//! (transposes) the weight first, which costs as much as the product when there are few rows. Here the vectors run along
//! `k`, a tile of dot products at a time, and nothing is packed.
use super::gemm::Epilogue;

/// Bytes of `b` that pass again and again while they lie in the second-level cache.
pub(super) const PANEL: usize = 256 << 10;

/// One product. Rows of `a`, `b` and `out` are `lda`, `ldb` and `ldo` elements apart.
#[derive(Clone, Copy)]
pub struct Dot<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const f32,
    pub lda: usize,
    pub b: *const f32,
    pub ldb: usize,
    pub out: *mut f32,
    pub ldo: usize,
    pub epilogue: Epilogue<'a, f32>,
}

/// Whether this CPU has a kernel.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::level() != x86::Level::None;
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Computes `d`. Each result is a sum in an order that depends on `k` and the instruction set alone.
///
/// # Safety
/// The pointers are valid for the sizes, `out` overlaps nothing, and [`available`] said yes.
pub unsafe fn run(d: &Dot) {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        x86::run(d)
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = d;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Dot, PANEL};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy, PartialEq)]
    pub enum Level {
        None,
        Avx2,
        Avx512,
    }

    pub fn level() -> Level {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            Level::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Level::Avx2
        } else {
            Level::None
        }
    }

    pub unsafe fn run(d: &Dot) {
        unsafe { if level() == Level::Avx512 { run512(d) } else { run256(d) } }
    }

    /// Calls `$tile::<rows, columns>` over the whole of `$d`: a panel of `b` stays in the second-level cache, a few rows of
    /// `a` in the first.
    macro_rules! tiles {
        ($d:ident, $tile:ident, $rows:literal, [$($r:literal)*]) => {{
            let panel = (PANEL / (4 * $d.k.max(1))).next_multiple_of(4);
            let mut start = 0;
            while start < $d.n {
                let end = $d.n.min(start + panel);
                let mut i = 0;
                while i < $d.m {
                    let rows = ($d.m - i).min($rows);
                    let mut j = start;
                    while j < end {
                        match (rows, (end - j).min(4)) {
                            $(($r, 4) => $tile::<$r, 4>($d, i, j),
                            ($r, 3) => $tile::<$r, 3>($d, i, j),
                            ($r, 2) => $tile::<$r, 2>($d, i, j),
                            ($r, _) => $tile::<$r, 1>($d, i, j),)*
                            _ => unreachable!(),
                        }
                        j += 4;
                    }
                    i += rows;
                }
                start = end;
            }
        }};
    }

    /// 6 * 4 accumulators, 4 vectors of `b` and one of `a` fill 29 of the 32 registers.
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    unsafe fn run512(d: &Dot) {
        unsafe { tiles!(d, tile512, 6, [1 2 3 4 5 6]) }
    }

    /// 3 * 4 accumulators, 3 vectors of `a` and one of `b` fill the 16 registers.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run256(d: &Dot) {
        unsafe { tiles!(d, tile256, 3, [1 2 3]) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    unsafe fn tile512<const M: usize, const N: usize>(d: &Dot, i: usize, j: usize) {
        unsafe {
            let (a, b) = (d.a.add(i * d.lda), d.b.add(j * d.ldb));
            let mut acc = [[_mm512_setzero_ps(); N]; M];
            let mut p = 0;
            while p + 16 <= d.k {
                let mut bv = [_mm512_setzero_ps(); N];
                for (y, v) in bv.iter_mut().enumerate() {
                    *v = _mm512_loadu_ps(b.add(y * d.ldb + p));
                }
                for (x, row) in acc.iter_mut().enumerate() {
                    let av = _mm512_loadu_ps(a.add(x * d.lda + p));
                    for (c, v) in row.iter_mut().zip(&bv) {
                        *c = _mm512_fmadd_ps(av, *v, *c);
                    }
                }
                p += 16;
            }
            if p < d.k {
                let mask = (1u16 << (d.k - p)) - 1;
                let mut bv = [_mm512_setzero_ps(); N];
                for (y, v) in bv.iter_mut().enumerate() {
                    *v = _mm512_maskz_loadu_ps(mask, b.add(y * d.ldb + p));
                }
                for (x, row) in acc.iter_mut().enumerate() {
                    let av = _mm512_maskz_loadu_ps(mask, a.add(x * d.lda + p));
                    for (c, v) in row.iter_mut().zip(&bv) {
                        *c = _mm512_fmadd_ps(av, *v, *c);
                    }
                }
            }
            for (x, row) in acc.iter().enumerate() {
                let mut half = [_mm256_setzero_ps(); 4];
                for (h, v) in half.iter_mut().zip(row) {
                    // The upper half through the integer cast: `extractf32x8` needs avx512dq.
                    let upper = _mm256_castsi256_ps(_mm512_extracti64x4_epi64::<1>(_mm512_castps_si512(*v)));
                    *h = _mm256_add_ps(_mm512_castps512_ps256(*v), upper);
                }
                store::<N>(d, i + x, j, half);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile256<const M: usize, const N: usize>(d: &Dot, i: usize, j: usize) {
        unsafe {
            let (a, b) = (d.a.add(i * d.lda), d.b.add(j * d.ldb));
            let mut acc = [[_mm256_setzero_ps(); 4]; M];
            let mut p = 0;
            while p + 8 <= d.k {
                let mut av = [_mm256_setzero_ps(); M];
                for (x, v) in av.iter_mut().enumerate() {
                    *v = _mm256_loadu_ps(a.add(x * d.lda + p));
                }
                for y in 0..N {
                    let bv = _mm256_loadu_ps(b.add(y * d.ldb + p));
                    for (row, v) in acc.iter_mut().zip(&av) {
                        row[y] = _mm256_fmadd_ps(*v, bv, row[y]);
                    }
                }
                p += 8;
            }
            if p < d.k {
                let mask = prefix(d.k - p);
                for (x, row) in acc.iter_mut().enumerate() {
                    let av = _mm256_maskload_ps(a.add(x * d.lda + p), mask);
                    for (y, c) in row.iter_mut().enumerate().take(N) {
                        *c = _mm256_fmadd_ps(av, _mm256_maskload_ps(b.add(y * d.ldb + p), mask), *c);
                    }
                }
            }
            for (x, row) in acc.iter().enumerate() {
                store::<N>(d, i + x, j, *row);
            }
        }
    }

    /// A mask of the first `n` of 8 lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn prefix(n: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// Sums the lanes of each of the first `N` vectors and stores them side by side, bias and relu applied.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store<const N: usize>(d: &Dot, i: usize, j: usize, v: [__m256; 4]) {
        unsafe {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
            let mut sum = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
            let out = d.out.add(i * d.ldo + j);
            let mask = _mm256_castsi256_si128(prefix(N));
            let load = |p: *const f32| if N == 4 { _mm_loadu_ps(p) } else { _mm_maskload_ps(p, mask) };
            if d.epilogue.accumulate {
                sum = _mm_add_ps(sum, load(out));
            }
            if let Some(bias) = d.epilogue.bias {
                sum = _mm_add_ps(sum, load(bias.as_ptr().add(j)));
            }
            if d.epilogue.relu {
                // In this order a NaN stays.
                sum = _mm_max_ps(_mm_setzero_ps(), sum);
            }
            if N == 4 { _mm_storeu_ps(out, sum) } else { _mm_maskstore_ps(out, mask, sum) }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::super::gemm::Epilogue;
        use super::super::super::test_args::{Owned, assert_close};
        use super::*;

        fn check(kernel: unsafe fn(&Dot)) {
            for (m, n, k) in [(1, 1, 1), (1, 4, 8), (2, 3, 15), (6, 5, 16), (7, 6, 33), (13, 11, 100), (5, 200, 2000), (12, 7, 0)] {
                for fused in [false, true] {
                    let (a, b, bias) = (Owned::<f32>::random(&[m, k + 3], 1), Owned::<f32>::random(&[n, k + 1], 2), Owned::<f32>::random(&[n], 3));
                    let mut out = Owned::<f32>::random(&[m, n + 2], 4);
                    let mut want = out.values();
                    for i in 0..m {
                        for j in 0..n {
                            let dot: f64 = (0..k).map(|p| a.at(&[i, p]) as f64 * b.at(&[j, p]) as f64).sum();
                            let y = &mut want[i * (n + 2) + j];
                            *y = if fused { (*y + dot + bias.data[j] as f64).max(0.0) } else { dot };
                        }
                    }
                    let epilogue = if fused { Epilogue { accumulate: true, bias: Some(&bias.data), relu: true } } else { Epilogue::default() };
                    let (pa, pb, po) = (a.data.as_ptr(), b.data.as_ptr(), out.data.as_mut_ptr());
                    unsafe { kernel(&Dot { m, n, k, a: pa, lda: k + 3, b: pb, ldb: k + 1, out: po, ldo: n + 2, epilogue }) };
                    assert_close(&out.values(), &want, 1e-5, &format!("{m} {n} {k} {fused}"));
                }
            }
        }

        #[test]
        fn each_instruction_set() {
            if level() != Level::None {
                check(|d| unsafe { run256(d) });
            }
            if level() == Level::Avx512 {
                check(|d| unsafe { run512(d) });
            }
        }
    }
}
