//! How far apart two tensors are.
use crate::array::Array;
use wick_core::dtype::DType;

/// One element may be off by this many times the tolerance of the whole.
const ONE_ELEMENT: f64 = 20.0;
/// float64's rounding where numbers of about 1 cancel.
const ROUNDING: f64 = 1e-15;

/// What is wrong with `got`, if anything is. `tolerance`: relative L2 error over all elements.
pub fn difference(got: &Array, want: &Array, tolerance: f64) -> Option<String> {
    if got.shape != want.shape {
        return Some(format!("has shape {:?}, not {:?}", got.shape, want.shape));
    }
    let (a, b) = (got.f64s(), want.f64s());
    if tolerance == 0.0 || !got.dtype.is_float() {
        // Bits, but for which NaN it is.
        return report(&a, &b, |a, b| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
    }
    let largest = match got.dtype {
        DType::F16 => 65504.0,
        DType::F32 | DType::BF16 => f32::MAX as f64,
        _ => f64::MAX,
    };
    let special = |a: f64, b: f64| match (a.is_finite(), b.is_finite()) {
        (true, true) => None,
        // Too large for the dtype is infinite in it.
        _ => Some(a == b || (a.is_nan() && b.is_nan()) || (a.is_infinite() && a.signum() == b.signum() && b.abs() >= largest * (1.0 - 1e-3))),
    };
    let finite = || a.iter().zip(&b).filter(|(a, b)| a.is_finite() && b.is_finite());
    let count = finite().count().max(1) as f64;
    let norm = |sum: f64| (sum / count).sqrt();
    let (error, size) = (norm(finite().map(|(a, b)| (a - b) * (a - b)).sum()), norm(finite().map(|(_, b)| b * b).sum()));
    // What is nothing but the reference's own rounding is 0.
    let size = if size < ROUNDING { 0.0 } else { size };
    let close = |a: f64, b: f64| {
        special(a, b).unwrap_or_else(|| (a - b).abs() <= ONE_ELEMENT * tolerance * (b.abs() + size) || size == 0.0 && (a - b).abs() <= tolerance)
    };
    if let Some(wrong) = report(&a, &b, close) {
        return Some(wrong);
    }
    let bound = if size == 0.0 { tolerance } else { tolerance * size };
    (error > bound).then(|| format!("is off by {:.2e} (relative L2), more than {tolerance:.1e}", error / if size == 0.0 { 1.0 } else { size }))
}

fn report(a: &[f64], b: &[f64], same: impl Fn(f64, f64) -> bool) -> Option<String> {
    let wrong: Vec<usize> = (0..a.len()).filter(|i| !same(a[*i], b[*i])).collect();
    let (first, last) = (*wrong.first()?, *wrong.last()?);
    let pairs: Vec<String> = wrong.iter().take(3).map(|i| format!("[{i}] is {:e}, not {:e}", a[*i], b[*i])).collect();
    Some(format!("differs in {} of {} elements ({first} to {last}): {}", wrong.len(), a.len(), pairs.join("; ")))
}
