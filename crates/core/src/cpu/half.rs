//! float16 and bfloat16: conversions by their bits, without branches, so that they vectorise; and operands by way of float32,
//! for kernels that compute in float32 and round once, at the end.
use super::Arg;
use super::parallel;
use super::scratch::Shared;
use super::simd::vectorised;
use crate::dtype::DType;
use crate::error::Result;
use crate::reserve;
use crate::shape::Layout;
use std::mem::MaybeUninit;

/// A 16-bit float.
pub trait Half: Copy {
    fn widen(self) -> f32;
    /// Rounds to nearest, ties to even.
    fn narrow(x: f32) -> Self;
}

#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct F16(pub u16);
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct BF16(pub u16);

impl Half for BF16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }
    #[inline(always)]
    fn narrow(x: f32) -> BF16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // Rounding could carry a NaN's payload away.
        BF16(if x.is_nan() { bits >> 16 | 0x40 } else { rounded } as u16)
    }
}

impl Half for F16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        let sign = (self.0 as u32 & 0x8000) << 16;
        let magnitude = (self.0 as u32 & 0x7fff) << 13;
        // Exponents differ by 112 in bias; that of infinity and NaN must become all ones.
        let normal = magnitude + (112 << 23);
        let special = magnitude | 0x7f80_0000;
        // A subnormal is its mantissa times 2^-24: read it behind a leading one and take that off.
        let subnormal = (f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23)).to_bits();
        let bits = if magnitude >= 31 << 23 { special } else { normal };
        f32::from_bits(sign | if magnitude < 1 << 23 { subnormal } else { bits })
    }
    #[inline(always)]
    fn narrow(x: f32) -> F16 {
        let sign = (x.to_bits() >> 16) & 0x8000;
        let magnitude = x.to_bits() & 0x7fff_ffff;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13;
        // 0.5 has an ulp of 2^-24, the step of float16's subnormals: adding it rounds to them.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let special = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
        let bits = if magnitude < 113 << 23 { subnormal } else { normal };
        F16((sign | if magnitude >= 143 << 23 { special } else { bits }) as u16)
    }
}

/// A float32 copy of a float16 or bfloat16 operand, row-major.
pub struct Widened(Vec<MaybeUninit<f32>>, Layout);
impl Widened {
    /// An uncomputed result of `layout`'s shape.
    pub fn empty(layout: &Layout) -> Widened {
        let mut memory = reserve::raising(layout.numel());
        // SAFETY: any bits are a `MaybeUninit`.
        unsafe { memory.set_len(layout.numel()) };
        Widened(memory, Layout::contiguous(layout.shape))
    }
    /// # Safety
    /// `x.ptr` is valid for its layout.
    pub unsafe fn new(x: &Arg) -> Widened {
        let mut out = Widened::empty(&x.layout);
        let to = out.0.as_mut_ptr().cast();
        unsafe {
            match x.dtype {
                DType::F16 => widen::<F16>(x, to),
                _ => widen::<BF16>(x, to),
            }
        }
        out
    }
    pub fn arg(&mut self) -> Arg {
        Arg { ptr: self.0.as_mut_ptr().cast(), layout: self.1, dtype: DType::F32 }
    }
    /// Rounds into `out`, a contiguous float16 or bfloat16 operand of the same number of elements.
    ///
    /// # Safety
    /// All elements have been computed, `out.ptr` is valid for its layout and nothing else uses the memory.
    pub unsafe fn store(&self, out: &Arg) {
        let from = self.0.as_ptr().cast_mut().cast();
        unsafe {
            match out.dtype {
                DType::F16 => convert(from, out.ptr.cast(), self.0.len(), F16::narrow),
                _ => convert(from, out.ptr.cast(), self.0.len(), BF16::narrow),
            }
        }
    }
}

/// Whether `dtype` is computed through [`Widened`].
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Calls `f` with float32 copies of the operands that are halves, and rounds what it computes.
///
/// # Safety
/// The operands are valid for their layouts, nothing else uses the results' memory, and `f` writes all results.
pub unsafe fn through_float32(ins: &[Arg], outs: &[Arg], f: impl FnOnce(&[Arg], &[Arg]) -> Result<()>) -> Result<()> {
    let mut wide_ins: Vec<_> = ins.iter().map(|x| is_half(x.dtype).then(|| unsafe { Widened::new(x) })).collect();
    let mut wide_outs: Vec<_> = outs.iter().map(|x| is_half(x.dtype).then(|| Widened::empty(&x.layout))).collect();
    let args = |args: &[Arg], wide: &mut [Option<Widened>]| -> Vec<Arg> {
        args.iter().zip(wide).map(|(x, wide)| wide.as_mut().map_or(*x, Widened::arg)).collect()
    };
    f(&args(ins, &mut wide_ins), &args(outs, &mut wide_outs))?;
    for (wide, out) in wide_outs.iter().zip(outs) {
        if let Some(wide) = wide {
            unsafe { wide.store(out) };
        }
    }
    Ok(())
}

/// Copies `x` in row-major order, a run of the last dimension at a time.
unsafe fn widen<H: Half>(x: &Arg, out: *mut f32) {
    let (l, base) = (&x.layout, x.ptr.cast::<H>());
    if l.numel() == 0 {
        return;
    }
    if l.is_contiguous() {
        return unsafe { convert(base, out, l.numel(), H::widen) };
    }
    // A non-contiguous operand has at least one dimension.
    let (outer, last) = (l.rank() - 1, l.shape[l.rank() - 1]);
    let stride = l.strides()[outer];
    let mut index = [0; crate::shape::MAX_RANK];
    for row in 0..l.numel() / last {
        let at = (0..outer).map(|d| index[d] * l.strides()[d]).sum::<usize>();
        unsafe {
            let to = out.add(row * last);
            if stride == 1 {
                convert(base.add(at), to, last, H::widen);
            } else {
                for j in 0..last {
                    *to.add(j) = (*base.add(at + j * stride)).widen();
                }
            }
        }
        for d in (0..outer).rev() {
            index[d] += 1;
            if index[d] < l.shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
}

/// `to[i] = f(from[i])` for runs that don't overlap.
unsafe fn convert<A: Copy, B>(from: *mut A, to: *mut B, len: usize, f: impl Fn(A) -> B + Sync) {
    const CHUNK: usize = 1 << 16;
    let (from, to) = (Shared::<A>::new(from.cast()), Shared::<B>::new(to.cast()));
    parallel::for_each(len.div_ceil(CHUNK), len, |c| {
        let (start, len) = (c * CHUNK, CHUNK.min(len - c * CHUNK));
        let (from, to) = unsafe { (from.slice(start, len), to.slice_mut(start, len)) };
        vectorised(
            #[inline(always)]
            || {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = f(*from);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_halves() {
        for bits in 0..=u16::MAX {
            let (a, b) = (F16(bits).widen(), half::f16::from_bits(bits).to_f32());
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{bits:x}");
            let (a, b) = (BF16(bits).widen(), half::bf16::from_bits(bits).to_f32());
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn narrowing_rounds_to_even() {
        for bits in (0..=u32::MAX).step_by(1021) {
            let x = f32::from_bits(bits);
            let (a, b) = (F16::narrow(x).0, half::f16::from_f32_const(x));
            assert!(a == b.to_bits() || x.is_nan() && F16(a).widen().is_nan(), "{x} {a:x} {b:x}");
            let (a, b) = (BF16::narrow(x).0, half::bf16::from_f32(x));
            assert!(a == b.to_bits() || x.is_nan() && BF16(a).widen().is_nan(), "{x} {a:x} {b:x}");
        }
        // Ties, among them those between subnormals.
        for k in 0..2048u32 {
            let x = (k as f32 + 0.5) * f32::powi(2.0, -24);
            assert_eq!(F16::narrow(x).0, half::f16::from_f32_const(x).to_bits());
        }
    }
}
