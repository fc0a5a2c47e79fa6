//! What the element types have in common: arithmetic of one element, with PyTorch's rules for NaN, signs and overflow.
use super::math;

/// A type that kernels compute with.
pub trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const IS_FLOAT: bool;
    /// Integers saturate and drop the fraction; NaN becomes 0.
    fn from_f64(x: f64) -> Self;
    /// Integers wrap.
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    /// Integers have no division here: the caller casts to float.
    fn div(self, o: Self) -> Self;
    /// The sign of the divisor, as in Python; an integer's remainder by 0 is 0 and must be refused before.
    fn remainder(self, o: Self) -> Self;
    /// An integer's negative power is 0, but of 1 and -1.
    fn pow(self, o: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    /// NaN wins.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn minimum(self, o: Self) -> Self {
        if self < o || self != self { self } else { o }
    }
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn maximum(self, o: Self) -> Self {
        if self > o || self != self { self } else { o }
    }
    #[inline(always)]
    fn relu(self) -> Self {
        if self <= Self::ZERO { Self::ZERO } else { self }
    }
    #[inline(always)]
    fn relu_grad(self, result: Self) -> Self {
        if result > Self::ZERO { self } else { Self::ZERO }
    }
    #[inline(always)]
    fn truth(self) -> bool {
        self != Self::ZERO
    }
}

/// Floats; the functions of f32 are [`math`]'s.
pub trait Float: Number {
    const ONE: Self;
    fn sqrt(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    /// Ties to even.
    fn round(self) -> Self;
    fn exp(self) -> Self;
    fn log(self) -> Self;
    fn log1p(self) -> Self;
    fn expm1(self) -> Self;
    fn tanh(self) -> Self;
    fn sigmoid(self) -> Self;
    fn erf(self) -> Self;
    /// f32: within [`math::TRIG_LIMIT`] only; see [`Float::trig_outside`].
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    /// sin and cos for the elements that [`Float::sin`] can't take, if `self` is one.
    fn trig_outside(self, cos: bool) -> Option<Self>;
    fn is_inf(self) -> bool;
}

macro_rules! float_number {
    ($t:ident) => {
        const ZERO: $t = 0.0;
        const IS_FLOAT: bool = true;
        #[inline(always)]
        fn from_f64(x: f64) -> $t {
            x as $t
        }
        #[inline(always)]
        fn add(self, o: $t) -> $t {
            self + o
        }
        #[inline(always)]
        fn sub(self, o: $t) -> $t {
            self - o
        }
        #[inline(always)]
        fn mul(self, o: $t) -> $t {
            self * o
        }
        #[inline(always)]
        fn div(self, o: $t) -> $t {
            self / o
        }
        #[inline(always)]
        fn remainder(self, o: $t) -> $t {
            let r = self % o;
            if r != 0.0 && (r < 0.0) != (o < 0.0) { r + o } else { r }
        }
        #[inline(always)]
        fn neg(self) -> $t {
            -self
        }
        #[inline(always)]
        fn abs(self) -> $t {
            $t::abs(self)
        }
        #[inline(always)]
        fn sign(self) -> $t {
            (self > 0.0) as i32 as $t - (self < 0.0) as i32 as $t
        }
    };
}
macro_rules! float_rounding {
    ($t:ident) => {
        const ONE: $t = 1.0;
        #[inline(always)]
        fn sqrt(self) -> $t {
            $t::sqrt(self)
        }
        #[inline(always)]
        fn floor(self) -> $t {
            $t::floor(self)
        }
        #[inline(always)]
        fn ceil(self) -> $t {
            $t::ceil(self)
        }
        #[inline(always)]
        fn round(self) -> $t {
            self.round_ties_even()
        }
        #[inline(always)]
        fn is_inf(self) -> bool {
            self.is_infinite()
        }
    };
}
/// The exponents that have a formula, element by element, so that a scalar and a tensor of exponents give the same bits.
macro_rules! special_powers {
    ($x:ident, $y:ident, $general:expr) => {
        if $y == 2.0 {
            $x * $x
        } else if $y == 1.0 {
            $x
        } else if $y == 3.0 {
            $x * $x * $x
        } else if $y == 0.5 {
            $x.sqrt()
        } else if $y == -1.0 {
            1.0 / $x
        } else if $y == -0.5 {
            1.0 / $x.sqrt()
        } else if $y == -2.0 {
            1.0 / ($x * $x)
        } else {
            $general
        }
    };
}

impl Number for f32 {
    float_number!(f32);
    #[inline(always)]
    fn pow(self, y: f32) -> f32 {
        special_powers!(self, y, (self as f64).powf(y as f64) as f32)
    }
}
impl Float for f32 {
    float_rounding!(f32);
    #[inline(always)]
    fn exp(self) -> f32 {
        math::exp(self)
    }
    #[inline(always)]
    fn log(self) -> f32 {
        math::log(self)
    }
    #[inline(always)]
    fn log1p(self) -> f32 {
        math::log1p(self)
    }
    #[inline(always)]
    fn expm1(self) -> f32 {
        math::expm1(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> f32 {
        math::sigmoid(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        math::erf(self)
    }
    #[inline(always)]
    fn sin(self) -> f32 {
        math::sin_reduced(self)
    }
    #[inline(always)]
    fn cos(self) -> f32 {
        math::cos_reduced(self)
    }
    #[inline(always)]
    fn trig_outside(self, cos: bool) -> Option<f32> {
        let x = self as f64;
        (self.abs() > math::TRIG_LIMIT).then(|| if cos { x.cos() } else { x.sin() } as f32)
    }
}
impl Number for f64 {
    float_number!(f64);
    #[inline(always)]
    fn pow(self, y: f64) -> f64 {
        special_powers!(self, y, self.powf(y))
    }
}
impl Float for f64 {
    float_rounding!(f64);
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn log(self) -> f64 {
        self.ln()
    }
    fn log1p(self) -> f64 {
        self.ln_1p()
    }
    fn expm1(self) -> f64 {
        self.exp_m1()
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn sigmoid(self) -> f64 {
        1.0 / (1.0 + (-self).exp())
    }
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    fn sin(self) -> f64 {
        f64::sin(self)
    }
    fn cos(self) -> f64 {
        f64::cos(self)
    }
    #[inline(always)]
    fn trig_outside(self, _: bool) -> Option<f64> {
        None
    }
}

macro_rules! integer {
    ($t:ident, $abs:expr) => {
        impl Number for $t {
            const ZERO: $t = 0;
            const IS_FLOAT: bool = false;
            #[inline(always)]
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            #[inline(always)]
            fn add(self, o: $t) -> $t {
                self.wrapping_add(o)
            }
            #[inline(always)]
            fn sub(self, o: $t) -> $t {
                self.wrapping_sub(o)
            }
            #[inline(always)]
            fn mul(self, o: $t) -> $t {
                self.wrapping_mul(o)
            }
            #[inline(always)]
            fn div(self, o: $t) -> $t {
                if o == 0 { 0 } else { self.wrapping_div(o) }
            }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn remainder(self, o: $t) -> $t {
                if o == 0 {
                    return 0;
                }
                let r = self.wrapping_rem(o);
                if r != 0 && (r < 0) != (o < 0) { r.wrapping_add(o) } else { r }
            }
            #[allow(unused_comparisons)]
            fn pow(self, o: $t) -> $t {
                if o < 0 {
                    let odd = o & 1 != 0;
                    return match self {
                        1 => 1,
                        x if x.wrapping_add(1) == 0 => {
                            if odd {
                                x
                            } else {
                                1
                            }
                        }
                        _ => 0,
                    };
                }
                let (mut base, mut n, mut product) = (self, o, 1 as $t);
                while n > 0 {
                    if n & 1 == 1 {
                        product = product.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    n >>= 1;
                }
                product
            }
            #[inline(always)]
            fn neg(self) -> $t {
                self.wrapping_neg()
            }
            #[inline(always)]
            fn abs(self) -> $t {
                let abs: fn($t) -> $t = $abs;
                abs(self)
            }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn sign(self) -> $t {
                ((self > 0) as $t).wrapping_sub((self < 0) as $t)
            }
        }
    };
}
integer!(i32, i32::wrapping_abs);
integer!(i64, i64::wrapping_abs);
integer!(u8, |x| x);
