//! Elements and rows added at numbered places. Results have the same bits each time, by one of three ways: few numbers are compared with each
//! other; many are sorted, so that what belongs together is added in order; integers are added atomically. Only a `scatterAdd` of many
//! float32 or float64 elements is left to atomics of floats, unless determinism is asked for.
use super::{THREADS, along, copy, is_aligned, is_wide, whole, with_stride};
use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args, type_name};
use crate::reduce::{blocks, number_name};
use crate::sort::{self, Rows};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::shape::{Layout, Shape};

static SOURCE: Source = Source { name: "scatter", text: include_str!("../kernels/scatter.cu") };
/// Numbers along a dimension that are compared with each other rather than sorted.
const FEW: usize = 256;

/// Runs `Op::ScatterAdd`.
pub fn scatter_add(gpu: &Gpu, dim: usize, x: &Arg, index: &Arg, src: &Arg, out: &Arg) -> Result<()> {
    let numbers = whole(&index.layout);
    // The source may be larger than the index.
    let elements = Layout::new(numbers.shape, whole(&src.layout).strides(), 0);
    let add = Add { gpu, dim, index: index.ptr as u64, numbers, src: src.ptr as u64, elements, out, result: whole(&out.layout) };
    add.begin(x)?;
    if numbers.numel() == 0 || out.numel() == 0 {
        Ok(())
    } else if numbers.shape[dim] <= FEW {
        add.few()
    } else if is_whole(out.dtype) || (is_atomic(out.dtype) && !gpu.deterministic()) {
        add.atomically()
    } else {
        add.sorted_elements()
    }
}

/// Runs `Op::IndexAdd`.
pub fn index_add(gpu: &Gpu, dim: usize, x: &Arg, index: &Arg, src: &Arg, out: &Arg) -> Result<()> {
    let elements = whole(&src.layout);
    let numbers = along(&index.layout, dim, &elements.shape);
    let add = Add { gpu, dim, index: index.ptr as u64, numbers, src: src.ptr as u64, elements, out, result: whole(&out.layout) };
    add.begin(x)?;
    if elements.numel() == 0 || out.numel() == 0 {
        Ok(())
    } else if elements.shape[dim] <= FEW {
        add.few()
    } else if is_whole(out.dtype) {
        add.atomically()
    } else {
        add.sorted_rows()
    }
}

/// Atomic addition of these is exact, whatever the order.
fn is_whole(dtype: DType) -> bool {
    matches!(dtype, DType::I32 | DType::I64)
}
fn is_atomic(dtype: DType) -> bool {
    is_whole(dtype) || matches!(dtype, DType::F32 | DType::F64)
}

/// The same bits as `Line` in `scatter.cu`: of the index along the dimension, of the result and the source.
#[repr(C)]
struct Line {
    length: u64,
    index_step: u64,
    size: u64,
    out_step: u64,
    src_step: u64,
}

/// Operands, with the index and the source under one shape.
struct Add<'a> {
    gpu: &'a Gpu,
    dim: usize,
    index: u64,
    numbers: Layout,
    src: u64,
    elements: Layout,
    out: &'a Arg,
    result: Layout,
}
impl Add<'_> {
    /// The result before anything is added.
    fn begin(&self, x: &Arg) -> Result<()> {
        copy(self.gpu, x.dtype, x.ptr as u64, &whole(&x.layout), self.out.ptr as u64, &self.result)
    }
    fn line(&self) -> Line {
        let step = |l: &Layout| l.strides()[self.dim] as u64;
        Line {
            length: self.numbers.shape[self.dim] as u64,
            index_step: step(&self.numbers),
            size: self.result.shape[self.dim] as u64,
            out_step: step(&self.result),
            src_step: step(&self.elements),
        }
    }
    fn width(&self) -> u64 {
        16 / self.out.dtype.size() as u64
    }
    /// A layout of the elements' shape without the dimension.
    fn flat(&self, layout: &Layout) -> Layout {
        with_stride(layout, &self.elements.shape, self.dim, 0)
    }

    fn few(&self) -> Result<()> {
        let shape = self.elements.shape;
        let place = along(&Layout::contiguous(Shape::new(&[shape[self.dim]])), self.dim, &shape);
        let space = Space::new(&shape, [&self.flat(&self.numbers), &place, &self.flat(&self.result), &self.elements]);
        let (index, src, out, line, fault) = (self.index, self.src, self.out.ptr as u64, self.line(), self.gpu.fault_flag()?);
        let width = self.width();
        let wide =
            is_wide(&space, width, &[2, 3]) && is_aligned(&[src, out]) && [line.out_step, line.src_step].iter().all(|s| s.is_multiple_of(width));
        let (name, width) = if wide { ("add_few_wide", width) } else { ("add_few_one", 1) };
        self.launch(name, space.numel, width, args![src, index, out, space, line, fault])
    }

    fn atomically(&self) -> Result<()> {
        let space = Space::new(&self.elements.shape, [&self.numbers, &self.flat(&self.result), &self.elements]);
        let (index, src, out, line, fault) = (self.index, self.src, self.out.ptr as u64, self.line(), self.gpu.fault_flag()?);
        self.launch("add_atomically", space.numel, 1, args![src, index, out, space, line.size, line.out_step, fault])
    }

    /// Sorts the numbers of rows; rows of equal ones are added together.
    fn sorted_rows(&self) -> Result<()> {
        let line = self.line();
        let count = line.length;
        let work = self.scratch(count, 0)?;
        sort::sort_rows(self.gpu, DType::I64, false, [self.index, work.keys, work.places], Rows::single(count), work.sort)?;
        let list = Shape::new(&[count as usize]);
        let along = Space::new(&list, [&Layout::new(list, &[line.src_step as usize], 0), &Layout::contiguous(list)]);
        let (source, result) = (self.elements.select(self.dim, 0), self.result.select(self.dim, 0));
        let kept = Space::new(&source.shape, [&source, &result]);
        self.add_sorted(&work, count, line.size, line.out_step, along, kept)
    }

    /// Sorts the places in the result of all elements; those of equal ones are added together. The index is row-major.
    fn sorted_elements(&self) -> Result<()> {
        let (line, shape, fault) = (self.line(), self.elements.shape, self.gpu.fault_flag()?);
        let number = Layout::contiguous(shape);
        let count = shape.numel() as u64;
        let work = self.scratch(count, 8 * count)?;
        let targets = Space::new(&shape, [&self.flat(&self.result), &number]);
        self.launch("targets", count, 1, args![self.index, work.targets, targets, line.size, line.out_step, fault])?;
        sort::sort_rows(self.gpu, DType::I64, false, [work.targets, work.keys, work.places], Rows::single(count), work.sort)?;
        let along = Space::new(&shape, [&self.elements, &number]);
        let kept = Space { rank: 0, numel: 1, sizes: [0; 8], strides: [[0; 8]; 2] };
        self.add_sorted(&work, count, self.out.numel() as u64, 1, along, kept)
    }

    fn add_sorted(&self, work: &Work, count: u64, limit: u64, key_step: u64, along: Space<2>, kept: Space<2>) -> Result<()> {
        let (src, out, fault) = (self.src, self.out.ptr as u64, self.gpu.fault_flag()?);
        let width = self.width();
        let steps = along.strides[0][..along.rank as usize].iter().chain([&key_step]);
        let wide = is_wide(&kept, width, &[0, 1]) && is_aligned(&[src, out]) && { steps }.all(|s| s.is_multiple_of(width));
        let (name, width) = if wide { ("add_sorted_wide", width) } else { ("add_sorted_one", 1) };
        let units = count * (kept.numel / width);
        self.launch(name, units, 1, args![work.keys, work.places, count, limit, key_step, src, out, along, kept, fault])
    }

    /// Memory for `count` sorted keys with their places, `targets` bytes before them, and the sort itself.
    fn scratch(&self, count: u64, targets: u64) -> Result<Work> {
        let list = (8 * count).next_multiple_of(256);
        let targets = targets.next_multiple_of(256);
        let bytes = targets + 2 * list + sort::work_bytes(DType::I64, &Rows::single(count));
        let at = self.gpu.scratch(bytes as usize)?;
        Ok(Work { targets: at, keys: at + targets, places: at + targets + list, sort: at + targets + 2 * list })
    }

    /// A thread for every `width` of `count`.
    fn launch(&self, name: &str, count: u64, width: u64, args: &mut [*mut std::ffi::c_void]) -> Result<()> {
        let f = self.gpu.kernel(&SOURCE, &defines(self.out.dtype), name)?;
        self.gpu.launch(f, (blocks(count, width * THREADS)?, 1, 1), (THREADS as u32, 1, 1), 0, args)
    }
}

/// Addresses in the working memory.
struct Work {
    targets: u64,
    keys: u64,
    places: u64,
    sort: u64,
}

fn defines(dtype: DType) -> String {
    // The sum of bools isn't that of numbers.
    let name = if dtype == DType::Bool { type_name(dtype) } else { number_name(dtype) };
    format!("TYPE={name}{}", if is_atomic(dtype) { " ATOMIC" } else { "" })
}

/// Every program of this file.
pub fn variants() -> impl Iterator<Item = (&'static Source, String, Vec<String>)> {
    DType::ALL.into_iter().map(|d| {
        let names = ["add_few_one", "add_few_wide", "targets", "add_sorted_one", "add_sorted_wide"].into_iter();
        (&SOURCE, defines(d), names.chain(is_atomic(d).then_some("add_atomically")).map(String::from).collect())
    })
}
