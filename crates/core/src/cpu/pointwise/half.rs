//! float16 and bfloat16 by their bits: conversions without branches, so that they vectorise, and the detour over float32
//! that their arithmetic takes.
use super::walk::Operand;
use crate::cpu::simd::vectorised;

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

/// Elements that are widened at a time.
pub const PART: usize = 512;

/// float32 copies of elements `start .. start + n` of `x`; `n` is at most [`PART`].
///
/// # Safety
/// `x` holds `H`s, at least `start + n` unless it is repeated.
pub unsafe fn widen_part<H: Half>(x: Operand, start: usize, n: usize, out: &mut [f32; PART]) -> Operand {
    let from = x.ptr.cast::<H>();
    if x.repeated {
        out[0] = unsafe { from.read() }.widen();
    } else {
        let from = unsafe { std::slice::from_raw_parts(from.add(start), n) };
        vectorised(
            #[inline(always)]
            || {
                for (o, x) in out.iter_mut().zip(from) {
                    *o = x.widen();
                }
            },
        )
    }
    Operand { ptr: out.as_ptr().cast(), repeated: x.repeated }
}

/// # Safety
/// `out` has room for `from.len()` elements.
pub unsafe fn narrow_part<H: Half>(from: &[f32], out: *mut H) {
    let out = unsafe { std::slice::from_raw_parts_mut(out, from.len()) };
    vectorised(
        #[inline(always)]
        || {
            for (o, x) in out.iter_mut().zip(from) {
                *o = H::narrow(*x);
            }
        },
    )
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
