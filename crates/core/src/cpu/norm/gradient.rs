//! The gradient that a batch norm's derivative starts from, with what a plan fused before it: a second gradient that is added,
//! and the derivative of the relu on top.
use super::super::real::{Real, Stored};
use super::super::scratch::Shared;
use super::sums::RUN;
use super::{Line, map, normalised};
use std::mem::MaybeUninit;

/// Where the relu on top was above 0.
#[derive(Clone, Copy)]
pub(super) enum Mask<E> {
    None,
    /// Where the norm's result is, computed again from this input.
    Input(Shared<E>),
    /// Where this result is.
    Result(Shared<E>),
}

#[derive(Clone, Copy)]
pub(super) struct Gradient<E> {
    pub grad: Shared<E>,
    pub second: Option<Shared<E>>,
    pub mask: Mask<E>,
    /// Where to keep it.
    pub keep: Option<Shared<E>>,
}

/// Room for a stretch that is computed.
pub(super) type Room<E> = [MaybeUninit<E>; RUN];
pub(super) fn room<E: Copy>() -> Room<E> {
    [MaybeUninit::uninit(); RUN]
}

impl<E: Stored> Gradient<E> {
    /// A stretch of it, with the numbers of its channels: where it lies, or in `room`.
    ///
    /// # Safety
    /// The stretch has at most [`RUN`] elements and lies within the operands.
    #[inline(always)]
    pub unsafe fn first(&self, start: usize, len: usize, lines: &[Line<E>], room: &mut Room<E>) -> *const E {
        unsafe {
            let grad = self.grad.at(start);
            let to = self.keep.map_or(room.as_mut_ptr().cast(), |k| k.at(start));
            match self.mask {
                Mask::None if self.second.is_none() && self.keep.is_none() => return grad,
                Mask::None => self.fill(
                    grad,
                    to,
                    start,
                    len,
                    lines,
                    #[inline(always)]
                    |_, _| true,
                ),
                Mask::Input(x) => self.fill(
                    x.at(start),
                    to,
                    start,
                    len,
                    lines,
                    #[inline(always)]
                    |x, line| normalised(x, line).get() > E::Real::ZERO,
                ),
                Mask::Result(y) => self.fill(
                    y.at(start),
                    to,
                    start,
                    len,
                    lines,
                    #[inline(always)]
                    |y, _| y.get() > E::Real::ZERO,
                ),
            }
            to
        }
    }
    /// As [`Gradient::first`], once that has passed over all stretches.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn again(&self, start: usize, len: usize, lines: &[Line<E>], room: &mut Room<E>) -> *const E {
        unsafe {
            match self.keep {
                Some(kept) => kept.at(start),
                None => self.first(start, len, lines, room),
            }
        }
    }

    /// The gradient where `positive` says so of the elements of `other`, else 0.
    #[inline(always)]
    unsafe fn fill(&self, other: *const E, to: *mut E, start: usize, len: usize, lines: &[Line<E>], positive: impl Fn(E, Line<E>) -> bool) {
        let zero = E::round(E::Real::ZERO);
        unsafe {
            let grad: *const E = self.grad.at(start);
            let Some(second) = self.second else {
                return map(
                    grad,
                    other,
                    to,
                    len,
                    lines,
                    #[inline(always)]
                    |g, o, line| if positive(o, line) { g } else { zero },
                );
            };
            let second: *const E = second.at(start);
            for i in 0..len {
                let sum = E::round((*grad.add(i)).get() + (*second.add(i)).get());
                let line = if let [line] = *lines { line } else { lines[i] };
                *to.add(i) = if positive(*other.add(i), line) { sum } else { zero };
            }
        }
    }
}
