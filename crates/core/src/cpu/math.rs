//! Functions that the compiler can vectorise: no branches, no calls, no fused multiply-add (so any vector width gives the same bits).

/// e^x to about 1 ulp; 0 and infinity where the result leaves the range, NaN of NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_375;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Comparisons in this form let a NaN through.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let t = x * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // The Taylor series: |r| <= ln(2) / 2 leaves an error below 2^-27.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let e = (p * r * r + r) + 1.0;
    // 2^n in two steps: n may lie outside the exponent's range on either side.
    let n = (t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    e * power(half) * power(n.wrapping_sub(half))
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close() {
        let mut worst = 0f64;
        for i in -103_000..=88_700 {
            let x = i as f32 * 1e-3;
            let want = (x as f64).exp();
            let ulp = (want as f32).to_bits().max(1) as f64;
            let (got, next) = (super::exp(x), f32::from_bits(ulp as u32 + 1));
            let unit = (next - want as f32) as f64;
            worst = worst.max((got as f64 - want).abs() / unit);
        }
        assert!(worst < 1.5, "{worst} ulp");
        assert_eq!(super::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(super::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(super::exp(0.0), 1.0);
        assert!(super::exp(f32::NAN).is_nan());
    }
}
