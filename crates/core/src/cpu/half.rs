//! float16 and bfloat16 operands by way of float32: kernels compute in float32 and round once, at the end.
use super::Arg;
use crate::dtype::DType;
use crate::shape::Layout;
use ::half::slice::HalfFloatSliceExt;
use ::half::{bf16, f16};

/// A float32 copy of a float16 or bfloat16 operand, row-major.
pub struct Widened(Vec<f32>, Layout);
impl Widened {
    /// An uncomputed result of `layout`'s shape.
    pub fn empty(layout: &Layout) -> Widened {
        Widened(vec![0.0; layout.numel()], Layout::contiguous(layout.shape))
    }
    /// # Safety
    /// `x.ptr` is valid for its layout.
    pub unsafe fn new(x: &Arg) -> Widened {
        let mut out = Widened::empty(&x.layout);
        unsafe {
            match x.dtype {
                DType::F16 => gather::<f16>(x, &mut out.0, |s, d| s.convert_to_f32_slice(d)),
                _ => gather::<bf16>(x, &mut out.0, |s, d| s.convert_to_f32_slice(d)),
            }
        }
        out
    }
    pub fn arg(&mut self) -> Arg {
        Arg { ptr: self.0.as_mut_ptr().cast(), layout: self.1, dtype: DType::F32 }
    }
    /// Rounds into `out`, a contiguous float16 or bfloat16 operand of the same number of elements.
    ///
    /// # Safety
    /// `out.ptr` is valid for its layout and nothing else uses the memory.
    pub unsafe fn store(&self, out: &Arg) {
        unsafe {
            match out.dtype {
                DType::F16 => out.slice_mut::<f16>().convert_from_f32_slice(&self.0),
                _ => out.slice_mut::<bf16>().convert_from_f32_slice(&self.0),
            }
        }
    }
}

/// Whether `dtype` is computed through [`Widened`].
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Copies `x` in row-major order, a run of the last dimension at a time.
unsafe fn gather<T: Copy>(x: &Arg, out: &mut [f32], convert: impl Fn(&[T], &mut [f32])) {
    let (l, base) = (&x.layout, x.ptr.cast::<T>());
    if l.numel() == 0 {
        return;
    }
    if l.is_contiguous() {
        return convert(unsafe { std::slice::from_raw_parts(base, out.len()) }, out);
    }
    // A non-contiguous operand has at least one dimension.
    let (outer, last) = (l.rank() - 1, l.shape[l.rank() - 1]);
    let stride = l.strides()[outer];
    let mut index = [0; crate::shape::MAX_RANK];
    for row in out.chunks_exact_mut(last) {
        let at = (0..outer).map(|d| index[d] * l.strides()[d]).sum::<usize>();
        unsafe {
            if stride == 1 {
                convert(std::slice::from_raw_parts(base.add(at), last), row);
            } else {
                for (j, y) in row.iter_mut().enumerate() {
                    convert(&[*base.add(at + j * stride)], std::slice::from_mut(y));
                }
            }
        }
        for d in (0..outer).rev() {
            index[d] += 1;
            if index[d] < l.shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
}
