//! Clamp, where and dropout, over one block.
use super::half::{BF16, F16, Half, PART, narrow_part, widen_part};
use super::lanes::{Float, Number};
use super::unary::map;
use super::walk::Operand;
use crate::cpu::philox;
use crate::cpu::simd::vectorised;
use crate::dtype::DType;

/// `min(max(x, low), high)`; NaN stays.
///
/// # Safety
/// `x` holds `dtype`s, and `out` has room for `n` and doesn't overlap `x`.
pub unsafe fn clamp(dtype: DType, low: f64, high: f64, x: Operand, out: *mut u8, n: usize) {
    unsafe {
        match dtype {
            DType::Bool | DType::U8 => clamp_number::<u8>(low, high, x, out, n),
            DType::I32 => clamp_number::<i32>(low, high, x, out, n),
            DType::I64 => clamp_number::<i64>(low, high, x, out, n),
            DType::F16 => clamp_half::<F16>(low, high, x, out, n),
            DType::BF16 => clamp_half::<BF16>(low, high, x, out, n),
            DType::F32 => clamp_number::<f32>(low, high, x, out, n),
            DType::F64 => clamp_number::<f64>(low, high, x, out, n),
        }
    }
}

unsafe fn clamp_number<T: Number>(low: f64, high: f64, x: Operand, out: *mut u8, n: usize) {
    let (low, high) = (T::from_f64(low), T::from_f64(high));
    unsafe {
        map(
            x,
            out,
            n,
            #[inline(always)]
            move |x: T| x.maximum(low).minimum(high),
        )
    }
}

unsafe fn clamp_half<H: Half>(low: f64, high: f64, x: Operand, out: *mut u8, n: usize) {
    let bound = |v: f64| H::narrow(v as f32).widen() as f64;
    unsafe { in_float::<H>(x, out, n, |_, x, out, m| clamp_number::<f32>(bound(low), bound(high), x, out, m)) }
}

/// Runs `f(start, x, out, n)` on float32 copies of `H`s.
unsafe fn in_float<H: Half>(x: Operand, out: *mut u8, n: usize, f: impl Fn(usize, Operand, *mut u8, usize)) {
    let (mut wide, mut result) = ([0f32; PART], [0f32; PART]);
    for start in (0..n).step_by(PART) {
        let m = PART.min(n - start);
        unsafe {
            let x = widen_part::<H>(x, start, m, &mut wide);
            f(start, x, result.as_mut_ptr().cast(), m);
            narrow_part(&result[..m], out.cast::<H>().add(start));
        }
    }
}

/// `a` where `condition` (bool), else `b`; `size` is that of an element of `a`, `b` and `out`.
///
/// # Safety
/// The operands are valid for `n` elements, `out` has room for `n` and overlaps none.
pub unsafe fn choose(size: usize, condition: Operand, a: Operand, b: Operand, out: *mut u8, n: usize) {
    unsafe {
        match size {
            1 => choose_as::<u8>(condition, a, b, out, n),
            2 => choose_as::<u16>(condition, a, b, out, n),
            4 => choose_as::<u32>(condition, a, b, out, n),
            _ => choose_as::<u64>(condition, a, b, out, n),
        }
    }
}

unsafe fn choose_as<T: Copy>(condition: Operand, a: Operand, b: Operand, out: *mut u8, n: usize) {
    unsafe {
        if condition.repeated {
            let chosen = if condition.ptr.read() != 0 { a } else { b };
            return map(chosen, out, n, |x: T| x);
        }
        let condition = std::slice::from_raw_parts(condition.ptr, n);
        let out = std::slice::from_raw_parts_mut(out.cast::<T>(), n);
        let slice = |x: Operand| std::slice::from_raw_parts(x.ptr.cast::<T>(), n);
        let one = |x: Operand| x.ptr.cast::<T>().read();
        match (a.repeated, b.repeated) {
            (false, false) => pick(condition, slice(a).iter().copied(), slice(b).iter().copied(), out),
            (false, true) => pick(condition, slice(a).iter().copied(), std::iter::repeat(one(b)), out),
            (true, false) => pick(condition, std::iter::repeat(one(a)), slice(b).iter().copied(), out),
            (true, true) => pick(condition, std::iter::repeat(one(a)), std::iter::repeat(one(b)), out),
        }
    }
}

#[inline(always)]
fn pick<T: Copy>(condition: &[u8], a: impl Iterator<Item = T>, b: impl Iterator<Item = T>, out: &mut [T]) {
    vectorised(
        #[inline(always)]
        move || {
            for (((o, c), a), b) in out.iter_mut().zip(condition).zip(a).zip(b) {
                *o = if *c != 0 { a } else { b };
            }
        },
    )
}

/// What a dropout needs, worked out once.
#[derive(Clone, Copy)]
pub struct Dropout {
    /// An element is kept if the top 24 bits of its word are at least this.
    threshold: u32,
    scale: f64,
    seed: u64,
    offset: u64,
}

impl Dropout {
    pub fn new(p: f64, seed: f64, offset: f64) -> Dropout {
        // uniform >= p for a uniform number of 24 bits, in every dtype: the mask doesn't depend on it.
        let threshold = (p * (1u32 << 24) as f64).ceil() as u32;
        let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
        Dropout { threshold, scale, seed: philox::seed_bits(seed), offset: offset as u64 }
    }

    /// The result's elements `start .. start + n`.
    ///
    /// # Safety
    /// `x` holds those elements, of a float `dtype`; `out` has room for them and doesn't overlap `x`.
    pub unsafe fn block(&self, dtype: DType, start: usize, x: Operand, out: *mut u8, n: usize) {
        unsafe {
            match dtype {
                DType::F16 => in_float::<F16>(x, out, n, |at, x, out, m| self.number::<f32>(start + at, x, out, m)),
                DType::BF16 => in_float::<BF16>(x, out, n, |at, x, out, m| self.number::<f32>(start + at, x, out, m)),
                DType::F64 => self.number::<f64>(start, x, out, n),
                _ => self.number::<f32>(start, x, out, n),
            }
        }
    }

    unsafe fn number<T: Float>(&self, start: usize, x: Operand, out: *mut u8, n: usize) {
        const WORDS: usize = 512;
        let (threshold, scale) = (self.threshold, T::from_f64(self.scale));
        let mut words = [0u32; WORDS];
        for at in (0..n).step_by(WORDS) {
            let m = WORDS.min(n - at);
            philox::words(self.seed, self.offset, start + at, &mut words[..m]);
            let kept = Operand { ptr: words.as_ptr().cast(), repeated: false };
            unsafe {
                let out = out.cast::<T>().add(at).cast();
                if x.repeated {
                    let scaled = x.ptr.cast::<T>().read().mul(scale);
                    map(
                        kept,
                        out,
                        m,
                        #[inline(always)]
                        move |w: u32| if w >> 8 >= threshold { scaled } else { T::ZERO },
                    )
                } else {
                    let x = std::slice::from_raw_parts(x.ptr.cast::<T>().add(at), m);
                    let out = std::slice::from_raw_parts_mut(out.cast::<T>(), m);
                    let words = &words[..m];
                    vectorised(
                        #[inline(always)]
                        move || {
                            for ((o, x), w) in out.iter_mut().zip(x).zip(words) {
                                let scaled = x.mul(scale);
                                *o = if *w >> 8 >= threshold { scaled } else { T::ZERO };
                            }
                        },
                    )
                }
            }
        }
    }
}
