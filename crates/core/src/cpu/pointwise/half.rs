//! The detour over float32 that the arithmetic of 16-bit floats takes, a part of a block at a time.
use super::walk::Operand;
pub use crate::cpu::half::{BF16, F16, Half};
use crate::cpu::simd::vectorised;

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
