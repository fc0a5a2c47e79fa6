//! Single-precision functions without branches, which the compiler vectorises. Multiplications and additions are rounded
//! apart (no fused multiply-add), so every instruction set gives the same bits. Coefficients are our own minimax fits.
//! Largest errors found over all floats, in ulp: exp 1.0, log 0.9, expm1 1.7, log1p 1.5, sin and cos 1.6, tanh 2.6, sigmoid 2.4
//! (above -87; below, it flushes to 0 early), erf 1.3.

/// Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// [`sin_reduced`] and [`cos_reduced`] hold up to here.
pub const TRIG_LIMIT: f32 = 1e6;

/// `c[0] + c[1] x + ..`
#[inline(always)]
fn polynomial<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    for k in (0..N - 1).rev() {
        sum = sum * x + c[k];
    }
    sum
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `x = n ln 2 + r` as `(e^r - 1, n)`; |x| < 1e5. NaN gives NaN.
#[inline(always)]
fn reduce_exp(x: f32) -> (f32, i32) {
    let t = x * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let q = polynomial(r, [0.5, 0.166_665_18, 0.041_666_202, 0.008_369_025, 0.001_395_072_6]);
    (r + r * r * q, (t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32))
}

#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    // Comparisons in this form let NaN through.
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (p, n) = reduce_exp(clamp(x, -104.0, 89.0));
    // 2^n in two steps: n may lie outside the exponent's range on either side.
    let half = n >> 1;
    (p + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (p, n) = reduce_exp(clamp(x, -20.0, 89.0));
    let half = n >> 1;
    let (a, b) = (power_of_two(half), power_of_two(n.wrapping_sub(half)));
    let inverse = power_of_two(half.wrapping_sub(n));
    ((p * a + (a - inverse)) * b).copysign(x)
}

#[inline(always)]
pub fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let y = if tiny { x * 8_388_608.0 } else { x };
    let sqrt_half = std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32;
    let bits = y.to_bits() as i32;
    let e = bits.wrapping_sub(sqrt_half) >> 23;
    let f = f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0;
    let e = e as f32 - if tiny { 23.0 } else { 0.0 };
    let q = polynomial(f, [0.333_333_3, -0.250_008_2, 0.200_012_27, -0.166_233_57, 0.142_017_57, -0.131_601_83, 0.127_615_76, -0.076_344_97]);
    let f2 = f * f;
    let r = e * LN2_HIGH + (f + (f * f2 * q + e * LN2_LOW - 0.5 * f2));
    let r = if x == f32::INFINITY { x } else { r };
    let r = if x == 0.0 { f32::NEG_INFINITY } else { r };
    if x >= 0.0 { r } else { f32::NAN }
}

#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let u = x + 1.0;
    let l = log(u);
    // What rounding u lost, to first order.
    let fix = (x - (u - 1.0)) / u;
    let r = if u == 0.0 || u == f32::INFINITY { l } else { l + fix };
    r.copysign(x)
}

/// `(r, quadrant)` of `x = quadrant * pi / 2 + r`. In double precision: the first part of pi / 2 has 32 bits, so its product is exact.
#[inline(always)]
fn reduce_trig(x: f32) -> (f32, i32) {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const HIGH: f64 = 1.570_796_326_734_125_6;
    const LOW: f64 = 6.077_100_506_506_192e-11;
    let x = x as f64;
    let t = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = t - ROUND;
    (((x - n * HIGH) - n * LOW) as f32, t.to_bits() as i32)
}

/// sin or cos of `r`, negated, as `quadrant` says.
#[inline(always)]
fn trig(r: f32, quadrant: i32) -> f32 {
    let t = r * r;
    let sin = r + r * t * polynomial(t, [-0.166_666_54, 0.008_332_149, -0.000_195_136_2]);
    let cos = 1.0 - 0.5 * t + t * t * polynomial(t, [0.041_666_646, -0.001_388_735_3, 2.443_661e-5]);
    let v = if quadrant & 1 == 0 { sin } else { cos };
    f32::from_bits(v.to_bits() ^ ((quadrant & 2) as u32) << 30)
}

/// sin for |x| <= [`TRIG_LIMIT`].
#[inline(always)]
pub fn sin_reduced(x: f32) -> f32 {
    let (r, quadrant) = reduce_trig(x);
    let v = trig(r, quadrant);
    if x == 0.0 { x } else { v }
}

/// cos for |x| <= [`TRIG_LIMIT`].
#[inline(always)]
pub fn cos_reduced(x: f32) -> f32 {
    let (r, quadrant) = reduce_trig(x);
    trig(r, quadrant.wrapping_add(1))
}

#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // e^2a - 1 keeps small arguments exact; from 10 on the result is 1.
    let (p, n) = reduce_exp(2.0 * clamp(x.abs(), 0.0, 10.0));
    let s = power_of_two(n);
    let e = p * s + (s - 1.0);
    (e / (e + 2.0)).copysign(x)
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = clamp(x.abs(), 0.0, 4.0);
    let t = a * a;
    let small = a + a * polynomial(t, [0.128_379_17, -0.376_126_35, 0.112_836_96, -0.026_859_4, 0.005_201_032_4, -0.000_814_270_4, 8.370_1e-5]);
    // 1 - e^-y, where y = -log(erfc a).
    let y = a * polynomial(a, [1.128_513_8, 0.635_720_25, 0.105_259_27, -0.022_888_32, 0.003_214_444, -0.000_213_923]);
    let (p, n) = reduce_exp(-y);
    let s = power_of_two(n);
    let large = 1.0 - (p + 1.0) * s;
    (if a < 0.921_875 { small } else { large }).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place of the rounded reference.
    fn ulps(got: f32, want: f64) -> f64 {
        let w = want as f32;
        if got.is_nan() || w.is_nan() {
            return if got.is_nan() == w.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if got == w {
            return 0.0;
        }
        let next = f32::from_bits((w.abs().to_bits() + 1).min(f32::INFINITY.to_bits()));
        let ulp = if next.is_infinite() { 2f64.powi(104) } else { next as f64 - w.abs() as f64 };
        (got as f64 - want).abs() / ulp
    }

    /// Every `step`-th float.
    fn worst(step: usize, f: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64, domain: impl Fn(f32) -> bool) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(step) {
            let x = f32::from_bits(bits);
            let e = if domain(x) { ulps(f(x), want(x as f64)) } else { 0.0 };
            if e > worst.0 {
                worst = (e, x);
            }
        }
        worst
    }

    #[test]
    fn accuracy() {
        let step = 4999;
        let all = |_: f32| true;
        let check = |name: &str, limit: f64, w: (f64, f32)| assert!(w.0 <= limit, "{name}({}) is off by {} ulp", w.1, w.0);
        check("exp", 1.1, worst(step, exp, f64::exp, all));
        check("log", 1.0, worst(step, log, f64::ln, all));
        check("expm1", 2.0, worst(step, expm1, f64::exp_m1, all));
        check("log1p", 2.0, worst(step, log1p, f64::ln_1p, all));
        check("sin", 2.0, worst(step, sin_reduced, f64::sin, |x| x.is_nan() || x.abs() <= TRIG_LIMIT));
        check("cos", 2.0, worst(step, cos_reduced, f64::cos, |x| x.is_nan() || x.abs() <= TRIG_LIMIT));
        check("tanh", 3.0, worst(step, tanh, f64::tanh, all));
        check("erf", 1.5, worst(step, erf, libm::erf, all));
        // Below -88 the exponential is infinite and the result 0.
        check("sigmoid", 3.0, worst(step, sigmoid, |x| 1.0 / (1.0 + (-x).exp()), |x| x.is_nan() || x >= -87.0));
    }

    #[test]
    fn special_values() {
        let inf = f32::INFINITY;
        for f in [exp, expm1, log, log1p, sin_reduced, cos_reduced, tanh, sigmoid, erf] {
            assert!(f(f32::NAN).is_nan());
        }
        for f in [expm1, log1p, sin_reduced, tanh, erf] {
            assert_eq!(f(-0.0).to_bits(), (-0.0f32).to_bits());
            assert_eq!(f(0.0).to_bits(), 0);
        }
        assert_eq!([exp(inf), exp(-inf), expm1(inf), expm1(-inf)], [inf, 0.0, inf, -1.0]);
        assert_eq!([log(inf), log(0.0), log(-0.0), log1p(inf), log1p(-1.0)], [inf, -inf, -inf, inf, -inf]);
        assert!(log(-1.0).is_nan() && log1p(-2.0).is_nan() && log(-inf).is_nan());
        assert_eq!([tanh(inf), tanh(-inf), erf(inf), erf(-inf), sigmoid(inf), sigmoid(-inf)], [1.0, -1.0, 1.0, -1.0, 1.0, 0.0]);
    }
}
