//! Operands for kernel tests: memory with a layout over it.
use super::{Arg, parallel};
use crate::dtype::DType;
use crate::shape::{Layout, Shape};
use ::half::{bf16, f16};
use std::sync::Mutex;

pub trait Element: Copy + Default + PartialEq + std::fmt::Debug {
    const DTYPE: DType;
    fn from_f64(v: f64) -> Self;
    fn to_f64(self) -> f64;
}
macro_rules! element {
    ($($t:ty: $d:ident),*) => {$(impl Element for $t {
        const DTYPE: DType = DType::$d;
        fn from_f64(v: f64) -> Self { v as $t }
        fn to_f64(self) -> f64 { self as f64 }
    })*};
}
element!(u8: U8, i32: I32, i64: I64, f32: F32, f64: F64);
macro_rules! element_half {
    ($($t:ty: $d:ident),*) => {$(impl Element for $t {
        const DTYPE: DType = DType::$d;
        fn from_f64(v: f64) -> Self { <$t>::from_f64(v) }
        fn to_f64(self) -> f64 { <$t>::to_f64(self) }
    })*};
}
element_half!(f16: F16, bf16: BF16);

/// A tensor that owns its memory.
pub struct Owned<T> {
    pub data: Vec<T>,
    pub layout: Layout,
    pub dtype: DType,
}
impl<T: Element> Owned<T> {
    pub fn new(data: Vec<T>, shape: &[usize]) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>());
        Owned { data, layout: Layout::contiguous(Shape::new(shape)), dtype: T::DTYPE }
    }
    pub fn zeros(shape: &[usize]) -> Self {
        Owned::new(vec![T::default(); shape.iter().product()], shape)
    }
    /// Distinct numbers in [-1, 1), or small integers for integer types; `seed` shifts them.
    pub fn random(shape: &[usize], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
            T::from_f64(if T::DTYPE.is_float() { unit * 2.0 - 1.0 } else { (unit * 9.0).floor() })
        };
        Owned::new((0..shape.iter().product()).map(|_| next()).collect(), shape)
    }
    /// The same elements under another layout of this memory.
    pub fn under(mut self, layout: impl Fn(&Layout) -> Layout) -> Self {
        self.layout = layout(&self.layout);
        self
    }
    pub fn arg(&mut self) -> Arg {
        let ptr = unsafe { self.data.as_mut_ptr().add(self.layout.offset) }.cast();
        let layout = Layout::new(self.layout.shape, self.layout.strides(), 0);
        Arg { ptr, layout, dtype: self.dtype }
    }
    pub fn at(&self, index: &[usize]) -> T {
        let at = self.layout.offset + index.iter().zip(self.layout.strides()).map(|(i, s)| i * s).sum::<usize>();
        self.data[at]
    }
    /// Elements in row-major order.
    pub fn values(&self) -> Vec<f64> {
        indices(&self.layout.shape).map(|i| self.at(&i).to_f64()).collect()
    }
}

/// All indices of a shape in row-major order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let shape = shape.to_vec();
    (0..shape.iter().product()).map(move |mut n: usize| {
        let mut index = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            index[d] = n % shape[d];
            n /= shape[d];
        }
        index
    })
}

pub fn assert_close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * (1.0 + w.abs());
        assert!(same, "{what}: element {i} is {g}, not {w}");
    }
}

/// Runs `f` with one thread and with three, and wants the same result. One test at a time: the count is the process's.
pub fn same_on_threads<R: PartialEq + std::fmt::Debug>(f: impl Fn() -> R) -> R {
    static ONE: Mutex<()> = Mutex::new(());
    let _guard = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let before = parallel::num_threads();
    parallel::set_num_threads(1);
    let serial = f();
    parallel::set_num_threads(3);
    let shared = f();
    parallel::set_num_threads(before);
    assert!(serial == shared, "the number of threads changed the result");
    serial
}
