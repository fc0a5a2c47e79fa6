//! Cross-entropy, its derivative, and the running mean of a loss.
use super::half::{Widened, is_half};
use super::parallel::{Shared, for_each};
use super::softmax::{Float, Row};
use super::{Arg, simd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Op, Reduction, Sc};
use crate::reserve;

/// Runs `Op::CrossEntropy`, `Op::CrossEntropyGrad` or `Op::TrackLoss`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let settings = |ignore: i64, smoothing: Sc, reduction: Reduction| Settings { ignore, smoothing: smoothing.get(params), reduction };
    unsafe {
        match *op {
            Op::CrossEntropy { ignore_index, smoothing, reduction, grad } => {
                let s = settings(ignore_index, smoothing, reduction);
                let mut room = 0;
                cross_entropy(&s, &ins[0], &ins[1], &outs[0], &outs[1]).and_then(|_| match outs.get(2) {
                    Some(out) if grad => {
                        let of_loss = Arg { ptr: one(&mut room, outs[0].dtype)?, ..outs[0] };
                        cross_entropy_grad(&s, &of_loss, &ins[0], &ins[1], out)
                    }
                    _ => Ok(()),
                })
            }
            Op::CrossEntropyGrad { ignore_index, smoothing, reduction } => {
                cross_entropy_grad(&settings(ignore_index, smoothing, reduction), &ins[0], &ins[1], &ins[2], &outs[0])
            }
            Op::TrackLoss { weight } => track(&ins[0], &ins[1], weight.get(params)),
            _ => Err(Error::internal("is not a loss")),
        }
    }
    .map_err(|e| e.in_op(op.name()))
}

/// A 1 of the dtype in `room`.
fn one(room: &mut u64, dtype: DType) -> Result<*mut u8> {
    *room = match dtype {
        DType::F64 => 1f64.to_bits(),
        DType::F32 => 1f32.to_bits() as u64,
        DType::F16 => ::half::f16::ONE.to_bits() as u64,
        DType::BF16 => ::half::bf16::ONE.to_bits() as u64,
        d => return Err(Error::dtype(format!("needs float logits, not {}", d.name()))),
    };
    Ok((&raw mut *room).cast())
}

struct Settings {
    ignore: i64,
    smoothing: f64,
    reduction: Reduction,
}

/// Elements of logits that are worth a chunk.
const CHUNK: usize = 1 << 13;

/// Class indices; each is the ignored one or a class.
struct Targets {
    first: *const i64,
    stride: usize,
    count: usize,
    /// Those that aren't ignored.
    valid: usize,
}
impl Targets {
    unsafe fn new(target: &Arg, ignore: i64, classes: usize) -> Result<Targets> {
        let stride = target.layout.strides().first().copied().unwrap_or(1);
        let mut t = Targets { first: target.ptr.cast(), stride, count: target.numel(), valid: 0 };
        for i in 0..t.count {
            let class = unsafe { t.get(i) };
            if class == ignore {
                continue;
            }
            if class < 0 || class >= classes as i64 {
                return Err(Error::index(format!("target {class} at position {i} is not one of the {classes} classes")));
            }
            t.valid += 1;
        }
        Ok(t)
    }
    #[inline(always)]
    unsafe fn get(&self, i: usize) -> i64 {
        unsafe { *self.first.add(i * self.stride) }
    }
}

unsafe fn cross_entropy(s: &Settings, logits: &Arg, target: &Arg, loss: &Arg, lse: &Arg) -> Result<()> {
    unsafe {
        match logits.dtype {
            DType::F32 => forward::<f32>(s, logits, target, loss, lse),
            DType::F64 => forward::<f64>(s, logits, target, loss, lse),
            d if is_half(d) => {
                let (mut wide_loss, mut wide_lse) = (Widened::empty(&loss.layout), Widened::empty(&lse.layout));
                let to = |wide: &mut Widened, out: &Arg| if is_half(out.dtype) { wide.arg() } else { *out };
                forward::<f32>(s, &Widened::new(logits).arg(), target, &to(&mut wide_loss, loss), &to(&mut wide_lse, lse))?;
                for (wide, out) in [(wide_loss, loss), (wide_lse, lse)] {
                    if is_half(out.dtype) {
                        wide.store(out);
                    }
                }
                Ok(())
            }
            d => Err(Error::dtype(format!("needs float logits, not {}", d.name()))),
        }
    }
}

unsafe fn forward<T: Float>(s: &Settings, logits: &Arg, target: &Arg, loss: &Arg, lse: &Arg) -> Result<()> {
    let (n, classes) = (logits.layout.shape[0], logits.layout.shape[1]);
    let targets = unsafe { Targets::new(target, s.ignore, classes)? };
    // Of each row the maximum and the sum of exponentials, and then its loss. Logarithms, which are calls, come after all the vectors.
    let mut rows = reserve::repeated((0.0, 0.0), n);
    let (to_lse, to_rows) = (lse.ptr.cast::<T>(), rows.as_mut_ptr());
    let x = unsafe { logits.slice::<T>() };
    let (hard, soft) = (1.0 - s.smoothing, s.smoothing / classes as f64);
    let group = CHUNK / classes.max(1) + 1;
    let body = unsafe {
        Shared::new(|c: usize| {
            let (from, to) = (c * group, n.min((c + 1) * group));
            let rows = std::slice::from_raw_parts_mut(to_rows.add(from), to - from);
            simd::vectorised(
                #[inline(always)]
                || {
                    for (i, r) in rows.iter_mut().enumerate() {
                        let row = Row::new(x, from + i, classes);
                        let max = row.maximum();
                        *r = (max.to_f64(), row.exponentials(max));
                    }
                },
            );
            for (i, r) in rows.iter_mut().enumerate() {
                let (i, max, log) = (from + i, r.0, r.1.ln());
                *to_lse.add(i) = T::from_f64(max + log);
                let class = targets.get(i);
                r.0 = if class == s.ignore {
                    0.0
                } else {
                    // -log p, as log-sum-exp less the logit, both relative to the maximum.
                    let entropy = log - (x[i * classes + class as usize].to_f64() - max);
                    if soft == 0.0 { entropy } else { hard * entropy + soft * (classes as f64 * (log + max) - Row::new(x, i, classes).sum()) }
                };
            }
        })
    };
    for_each(n.div_ceil(group), 12 * n * classes, |c| body.get()(c));
    let out = loss.ptr.cast::<T>();
    let total = || rows.iter().map(|r| r.0).sum::<f64>();
    unsafe {
        match s.reduction {
            Reduction::None => rows.iter().enumerate().for_each(|(i, r)| *out.add(i) = T::from_f64(r.0)),
            Reduction::Sum => *out = T::from_f64(total()),
            // 0 / 0 where all are ignored, as in PyTorch.
            Reduction::Mean => *out = T::from_f64(total() / targets.valid as f64),
        }
    }
    Ok(())
}

unsafe fn cross_entropy_grad(s: &Settings, grad: &Arg, logits: &Arg, target: &Arg, out: &Arg) -> Result<()> {
    unsafe {
        match logits.dtype {
            DType::F32 => backward::<f32>(s, grad, logits, target, out),
            DType::F64 => backward::<f64>(s, grad, logits, target, out),
            d if is_half(d) => {
                let mut wide = Widened::empty(&out.layout);
                let mut wide_grad = is_half(grad.dtype).then(|| Widened::new(grad));
                let grad = wide_grad.as_mut().map_or(*grad, Widened::arg);
                backward::<f32>(s, &grad, &Widened::new(logits).arg(), target, &wide.arg())?;
                wide.store(out);
                Ok(())
            }
            d => Err(Error::dtype(format!("needs float logits, not {}", d.name()))),
        }
    }
}

/// The softmax is made anew from the logits: by the rounded log-sum-exp it would lose digits where logits are large.
unsafe fn backward<T: Float>(s: &Settings, grad: &Arg, logits: &Arg, target: &Arg, out: &Arg) -> Result<()> {
    let (n, classes) = (logits.layout.shape[0], logits.layout.shape[1]);
    let targets = unsafe { Targets::new(target, s.ignore, classes)? };
    let (x, to, of_loss) = (unsafe { logits.slice::<T>() }, out.ptr.cast::<T>(), grad.ptr.cast::<T>());
    // Without a reduction the gradient has a number for each row; often it is one number, repeated.
    let stride = grad.layout.strides().first().copied().unwrap_or(0);
    let divisor = if s.reduction == Reduction::Mean { targets.valid as f64 } else { 1.0 };
    let (hard, soft) = (1.0 - s.smoothing, s.smoothing / classes as f64);
    let group = CHUNK / classes.max(1) + 1;
    let body = unsafe {
        Shared::new(|c: usize| {
            simd::vectorised(
                #[inline(always)]
                || {
                    for i in c * group..n.min((c + 1) * group) {
                        let out = std::slice::from_raw_parts_mut(to.add(i * classes), classes);
                        let class = targets.get(i);
                        if class == s.ignore {
                            out.fill(T::ZERO);
                            continue;
                        }
                        let g = (*of_loss.add(i * stride)).to_f64() / divisor;
                        let row = Row::new(x, i, classes);
                        let sum = row.store_exponentials(row.maximum(), out);
                        let (scale, shift) = (T::from_f64(g / sum), T::from_f64(g * soft));
                        out.iter_mut().for_each(|y| *y = *y * scale - shift);
                        out[class as usize] = out[class as usize] - T::from_f64(g * hard);
                    }
                },
            )
        })
    };
    for_each(n.div_ceil(group), 12 * n * classes, |c| body.get()(c));
    Ok(())
}

unsafe fn track(tracker: &Arg, loss: &Arg, weight: f64) -> Result<()> {
    let value = unsafe {
        match loss.dtype {
            DType::F32 => *loss.ptr.cast::<f32>() as f64,
            DType::F64 => *loss.ptr.cast::<f64>(),
            DType::F16 => (*loss.ptr.cast::<::half::f16>()).to_f64(),
            DType::BF16 => (*loss.ptr.cast::<::half::bf16>()).to_f64(),
            d => return Err(Error::dtype(format!("needs a float loss, not {}", d.name()))),
        }
    };
    let at = |i: usize| unsafe { &mut *tracker.ptr.cast::<f64>().add(i * tracker.layout.strides()[0]) };
    *at(0) += value * weight;
    *at(1) += weight;
    if !value.is_finite() {
        *at(2) = 1.0;
    }
    *at(3) = value;
    Ok(())
}

#[cfg(test)]
mod tests;
