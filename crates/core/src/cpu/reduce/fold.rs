//! What a reduction does to its elements, one type a kind.
use std::marker::PhantomData;
use std::ops::{Add, Mul};

/// A reduction in two levels: a `Lane` takes a short run of elements (it is what a vector holds many of), a `Total` takes lanes.
/// For float32 sums the total is float64, so the error is that of a short run, however many elements there are.
pub trait Fold {
    type In: Copy;
    type Lane: Copy;
    type Total: Copy + Send;
    const LANE: Self::Lane;
    const TOTAL: Self::Total;
    fn step(lane: Self::Lane, x: Self::In) -> Self::Lane;
    fn join(a: Self::Lane, b: Self::Lane) -> Self::Lane;
    fn merge(total: Self::Total, lane: Self::Lane) -> Self::Total;
    fn combine(a: Self::Total, b: Self::Total) -> Self::Total;
}

/// Numbers that are reduced.
pub trait Number: Copy + PartialOrd + Send + Sync + 'static {
    /// Running sums and products of short runs, and of all elements.
    type Lane: Copy + Add<Output = Self::Lane> + Mul<Output = Self::Lane>;
    type Total: Copy + Send + Sync + 'static + Add<Output = Self::Total> + Mul<Output = Self::Total>;
    const MIN: Self;
    const MAX: Self;
    const ZERO: Self;
    const LANE: [Self::Lane; 2];
    const TOTAL: [Self::Total; 2];
    fn lane(self) -> Self::Lane;
    fn total(lane: Self::Lane) -> Self::Total;
    fn is_nan(self) -> bool;
}
macro_rules! number {
    ($($t:ty: $lane:ty, $total:ty, [$zero:expr, $one:expr], $min:expr, $max:expr;)*) => {$(impl Number for $t {
        type Lane = $lane;
        type Total = $total;
        const MIN: $t = $min;
        const MAX: $t = $max;
        const ZERO: $t = 0 as $t;
        const LANE: [$lane; 2] = [$zero as $lane, $one as $lane];
        const TOTAL: [$total; 2] = [$zero as $total, $one as $total];
        #[inline(always)]
        fn lane(self) -> $lane {
            self as $lane
        }
        #[inline(always)]
        fn total(lane: $lane) -> $total {
            lane as $total
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            <$t>::is_nan(self)
        }
    })*};
}
/// int64 that wraps around.
#[derive(Clone, Copy)]
pub struct Wrapping(pub i64);
impl Add for Wrapping {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Wrapping(self.0.wrapping_add(o.0))
    }
}
impl Mul for Wrapping {
    type Output = Self;
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Wrapping(self.0.wrapping_mul(o.0))
    }
}
macro_rules! whole_number {
    ($($t:ty)*) => {$(impl Number for $t {
        type Lane = Wrapping;
        type Total = Wrapping;
        const MIN: $t = <$t>::MIN;
        const MAX: $t = <$t>::MAX;
        const ZERO: $t = 0;
        const LANE: [Wrapping; 2] = [Wrapping(0), Wrapping(1)];
        const TOTAL: [Wrapping; 2] = [Wrapping(0), Wrapping(1)];
        #[inline(always)]
        fn lane(self) -> Wrapping {
            Wrapping(self as i64)
        }
        #[inline(always)]
        fn total(lane: Wrapping) -> Wrapping {
            lane
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            false
        }
    })*};
}
number! {
    f32: f32, f64, [0.0, 1.0], f32::NEG_INFINITY, f32::INFINITY;
    f64: f64, f64, [0.0, 1.0], f64::NEG_INFINITY, f64::INFINITY;
}
whole_number!(u8 i32 i64);

/// Whether `x` takes the place of `best`: NaN wins, then the larger (`MAX`) or smaller number.
#[inline(always)]
pub fn beats<T: Number, const MAX: bool>(x: T, best: T) -> bool {
    x.is_nan() | if MAX { x > best } else { x < best }
}

pub struct Sum<T>(PhantomData<T>);
impl<T: Number> Fold for Sum<T> {
    type In = T;
    type Lane = T::Lane;
    type Total = T::Total;
    const LANE: T::Lane = T::LANE[0];
    const TOTAL: T::Total = T::TOTAL[0];
    #[inline(always)]
    fn step(lane: T::Lane, x: T) -> T::Lane {
        lane + x.lane()
    }
    #[inline(always)]
    fn join(a: T::Lane, b: T::Lane) -> T::Lane {
        a + b
    }
    #[inline(always)]
    fn merge(total: T::Total, lane: T::Lane) -> T::Total {
        total + T::total(lane)
    }
    #[inline(always)]
    fn combine(a: T::Total, b: T::Total) -> T::Total {
        a + b
    }
}

pub struct Prod<T>(PhantomData<T>);
impl<T: Number> Fold for Prod<T> {
    type In = T;
    type Lane = T::Lane;
    type Total = T::Total;
    const LANE: T::Lane = T::LANE[1];
    const TOTAL: T::Total = T::TOTAL[1];
    #[inline(always)]
    fn step(lane: T::Lane, x: T) -> T::Lane {
        lane * x.lane()
    }
    #[inline(always)]
    fn join(a: T::Lane, b: T::Lane) -> T::Lane {
        a * b
    }
    #[inline(always)]
    fn merge(total: T::Total, lane: T::Lane) -> T::Total {
        total * T::total(lane)
    }
    #[inline(always)]
    fn combine(a: T::Total, b: T::Total) -> T::Total {
        a * b
    }
}

/// Largest (`MAX`) or smallest element; a NaN if there is one.
pub struct Extreme<T, const MAX: bool>(PhantomData<T>);
impl<T: Number, const MAX: bool> Fold for Extreme<T, MAX> {
    type In = T;
    type Lane = T;
    type Total = T;
    const LANE: T = if MAX { T::MIN } else { T::MAX };
    const TOTAL: T = Self::LANE;
    #[inline(always)]
    fn step(lane: T, x: T) -> T {
        if beats::<T, MAX>(x, lane) { x } else { lane }
    }
    #[inline(always)]
    fn join(a: T, b: T) -> T {
        Self::step(a, b)
    }
    #[inline(always)]
    fn merge(a: T, b: T) -> T {
        Self::step(a, b)
    }
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        Self::step(a, b)
    }
}

/// Whether any (`ANY`) element is not 0, or all are.
pub struct Logical<T, const ANY: bool>(PhantomData<T>);
impl<T: Number, const ANY: bool> Fold for Logical<T, ANY> {
    type In = T;
    type Lane = u32;
    type Total = u32;
    const LANE: u32 = !ANY as u32;
    const TOTAL: u32 = !ANY as u32;
    #[inline(always)]
    fn step(lane: u32, x: T) -> u32 {
        Self::join(lane, (x != T::ZERO) as u32)
    }
    #[inline(always)]
    fn join(a: u32, b: u32) -> u32 {
        if ANY { a | b } else { a & b }
    }
    #[inline(always)]
    fn merge(a: u32, b: u32) -> u32 {
        Self::join(a, b)
    }
    #[inline(always)]
    fn combine(a: u32, b: u32) -> u32 {
        Self::join(a, b)
    }
}
