//! Operands of a case: values on the host, places on the device.
use crate::array::Array;
use crate::case::{Input, Lay, Values};
use std::ptr::NonNull;
use wick_core::cpu::Arg;
use wick_core::device::Backend;
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::shape::{Layout, Shape};

/// Bytes on either side of every operand that nothing may write.
const GUARD: usize = 256;
const GUARD_BYTE: u8 = 0x5a;

/// The layout that `lay` means for `shape`.
pub fn layout(lay: Lay, shape: &Shape) -> Layout {
    let rank = shape.rank();
    let dense = Layout::contiguous(*shape);
    let permuted = |order: &[u8]| {
        let sizes: Vec<usize> = order.iter().map(|d| shape[*d as usize]).collect();
        let mut back = vec![0u8; rank];
        order.iter().enumerate().for_each(|(i, d)| back[*d as usize] = i as u8);
        Layout::contiguous(Shape::new(&sizes)).permute(&back)
    };
    let mut order: Vec<u8> = (0..rank as u8).collect();
    match lay {
        Lay::Transposed if rank >= 2 => {
            order.swap(rank - 1, rank - 2);
            permuted(&order)
        }
        Lay::ChannelsLast if rank >= 3 => {
            let channels = order.remove(1);
            order.push(channels);
            permuted(&order)
        }
        Lay::Offset => Layout::new(*shape, dense.strides(), 1),
        Lay::Expanded if rank >= 1 => Layout::contiguous(shape.with(0, 1)).expand(shape),
        Lay::Strided if rank >= 1 => Layout::contiguous(shape.with(rank - 1, 2 * shape[rank - 1])).narrow(rank - 1, 0, shape[rank - 1], 2),
        _ => dense,
    }
}

/// Numbers from a seed (SplitMix64).
pub struct Generator(u64);
impl Generator {
    pub fn new(name: &str, operand: usize) -> Generator {
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01B3));
        Generator(seed ^ (operand as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn whole(&mut self, low: i64, high: i64) -> f64 {
        (low + (self.next() % (high - low + 1) as u64) as i64) as f64
    }
    fn values(&mut self, kind: &Values, dtype: DType, n: usize) -> Vec<f64> {
        match (kind, dtype) {
            (Values::Permutation, _) => {
                let mut order: Vec<f64> = (0..n).map(|i| i as f64).collect();
                (1..n).rev().for_each(|i| order.swap(i, (self.next() % (i as u64 + 1)) as usize));
                order
            }
            (Values::Given(v), _) => (0..n).map(|i| v[i % v.len()]).collect(),
            (Values::Normal | Values::Uniform | Values::Bool, DType::Bool) | (Values::Bool, _) => (0..n).map(|_| self.whole(0, 1)).collect(),
            (Values::Normal | Values::Uniform, DType::U8) => (0..n).map(|_| self.whole(0, 8)).collect(),
            (Values::Normal | Values::Uniform, DType::I32 | DType::I64) => (0..n).map(|_| self.whole(-4, 4)).collect(),
            (Values::Normal, _) => {
                (0..n).map(|_| (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()).collect()
            }
            (Values::Uniform, _) => (0..n).map(|_| self.uniform()).collect(),
            (Values::Between(low, high), _) => (0..n).map(|_| low + (high - low) * self.uniform()).collect(),
            (Values::Integers(low, high), _) => (0..n).map(|_| self.whole(*low, *high)).collect(),
            (Values::Index(below), _) => (0..n).map(|_| self.whole(0, *below as i64 - 1)).collect(),
        }
    }
}

/// An operand as it lies in memory, with what is around it.
#[derive(Clone)]
pub struct Image {
    /// The offset counts from the first byte behind the guard.
    pub layout: Layout,
    pub dtype: DType,
    /// Guard, elements and what lies between them, guard.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Memory for a layout: everything but the guards is `byte`.
    pub fn filled(layout: Layout, dtype: DType, byte: u8) -> Image {
        let inside = (layout.offset + layout.span()) * dtype.size();
        let mut bytes = vec![GUARD_BYTE; inside + 2 * GUARD];
        bytes[GUARD..GUARD + inside].fill(byte);
        Image { layout, dtype, bytes }
    }

    /// An input's values in its layout.
    pub fn of(input: &Input, lay: Lay, seed: &mut Generator) -> Image {
        let shape = Shape::new(&input.shape);
        let mut image = Image::filled(layout(lay, &shape), input.dtype, 0xff);
        // A repeated dimension has one value for all its elements.
        let once = (0..shape.rank()).filter(|d| image.layout.strides()[*d] == 0 && shape[*d] > 1).fold(image.layout, |l, d| l.narrow(d, 0, 1, 1));
        let values = seed.values(&input.values, input.dtype, once.numel());
        let values = Array::from_f64s(input.dtype, &once.shape, &values);
        let size = input.dtype.size();
        for (at, value) in offsets(&once).into_iter().zip(values.bytes.chunks_exact(size)) {
            image.bytes[GUARD + at * size..][..size].copy_from_slice(value);
        }
        image
    }

    /// `layout` over a base; row-major if `contiguous`.
    pub fn viewed(base: &Array, layout: &Layout, contiguous: bool) -> Image {
        let dense = Layout::contiguous(Shape::new(&base.shape));
        let mut image = Image::filled(dense, base.dtype, 0);
        image.bytes[GUARD..GUARD + base.bytes.len()].copy_from_slice(&base.bytes);
        image.layout = *layout;
        if !contiguous {
            return image;
        }
        let array = image.array();
        let shape = layout.shape;
        Image::viewed(&array, &Layout::contiguous(shape), false)
    }

    /// The elements, row-major.
    pub fn array(&self) -> Array {
        let size = self.dtype.size();
        let bytes = offsets(&self.layout).into_iter().flat_map(|at| self.bytes[GUARD + at * size..][..size].to_vec()).collect();
        Array { dtype: self.dtype, shape: self.layout.shape.to_vec(), bytes }
    }

    /// Whether everything but the elements is as in `before`.
    pub fn same_around(&self, before: &Image) -> bool {
        let size = self.dtype.size();
        let mut element = vec![false; self.bytes.len()];
        offsets(&self.layout).into_iter().for_each(|at| element[GUARD + at * size..][..size].fill(true));
        self.bytes.iter().zip(&before.bytes).zip(element).all(|((a, b), element)| element || a == b)
    }
}

/// Where the elements lie, in row-major order.
fn offsets(layout: &Layout) -> Vec<usize> {
    let mut all = Vec::with_capacity(layout.numel());
    let (shape, strides) = (layout.shape, layout.strides());
    let mut index = vec![0; shape.rank()];
    let mut at = layout.offset;
    for _ in 0..layout.numel() {
        all.push(at);
        for d in (0..shape.rank()).rev() {
            index[d] += 1;
            at += strides[d];
            if index[d] < shape[d] {
                break;
            }
            at -= index[d] * strides[d];
            index[d] = 0;
        }
    }
    all
}

/// An image on the device.
pub struct Placed<'a> {
    backend: &'a dyn Backend,
    ptr: NonNull<u8>,
    pub image: Image,
}

impl<'a> Placed<'a> {
    pub fn new(backend: &'a dyn Backend, image: Image) -> Result<Placed<'a>> {
        let placed = Placed { backend, ptr: backend.allocate(image.bytes.len())?, image };
        placed.restore()?;
        Ok(placed)
    }
    /// Writes the image again.
    pub fn restore(&self) -> Result<()> {
        unsafe { put(self.backend, &self.image.bytes, self.ptr.as_ptr()) }
    }
    /// What the memory holds now.
    pub fn now(&self) -> Result<Image> {
        let mut image = self.image.clone();
        unsafe { self.backend.download(self.ptr.as_ptr(), &mut image.bytes)? };
        Ok(image)
    }
    /// The operand as a kernel gets it, broadcast to `shape` if that is given.
    pub fn arg(&self, shape: Option<&Shape>) -> Arg {
        let l = self.image.layout;
        let ptr = unsafe { self.ptr.as_ptr().add(GUARD + l.offset * self.image.dtype.size()) };
        let own = Layout::new(l.shape, l.strides(), 0);
        Arg { ptr, layout: shape.map_or(own, |s| own.expand(s)), dtype: self.image.dtype }
    }
}
impl Drop for Placed<'_> {
    fn drop(&mut self) {
        self.backend.release(self.ptr, self.image.bytes.len());
    }
}

/// A row-major operand on the host, aligned for every dtype.
pub struct OnHost {
    words: Vec<u64>,
    shape: Shape,
    dtype: DType,
}
impl OnHost {
    pub fn new(array: &Array) -> OnHost {
        let mut host = OnHost::zeros(Shape::new(&array.shape), array.dtype);
        host.bytes_mut().copy_from_slice(&array.bytes);
        host
    }
    pub fn zeros(shape: Shape, dtype: DType) -> OnHost {
        OnHost { words: vec![0; (shape.numel() * dtype.size()).div_ceil(8)], shape, dtype }
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.shape.numel() * self.dtype.size()) }
    }
    pub fn arg(&mut self, shape: Option<&Shape>) -> Arg {
        let own = Layout::contiguous(self.shape);
        Arg { ptr: self.words.as_mut_ptr().cast(), layout: shape.map_or(own, |s| own.expand(s)), dtype: self.dtype }
    }
    pub fn array(&mut self) -> Array {
        let (dtype, shape) = (self.dtype, self.shape.to_vec());
        Array { dtype, shape, bytes: self.bytes_mut().to_vec() }
    }
}

/// Copies bytes to the device.
///
/// # Safety
/// `to` has room for them.
pub unsafe fn put(backend: &dyn Backend, bytes: &[u8], to: *mut u8) -> Result<()> {
    unsafe { backend.upload(bytes.len(), to, &mut |at, part| part.copy_from_slice(&bytes[at..at + part.len()])) }
}
