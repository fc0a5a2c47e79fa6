//! One body of code, compiled for the instruction sets at hand.
use pulp::{Arch, WithSimd};
use std::sync::OnceLock;

struct Body<F>(F);
impl<R, F: FnOnce() -> R> WithSimd for Body<F> {
    type Output = R;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> R {
        (self.0)()
    }
}

/// Runs `body` with the widest vectors of this CPU: write `vectorised(#[inline(always)] || ...)` around a plain loop and
/// the compiler vectorises it. Results don't depend on the width: nothing is reassociated.
#[inline(always)]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    ARCH.get_or_init(Arch::new).dispatch(Body(body))
}
