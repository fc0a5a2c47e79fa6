//! Work that isn't an op: many copies or counters in one launch, rows by number, a plan's parameters. All of it travels as kernel arguments.
use crate::gpu::{Gpu, Scalar, Source, args, type_name};
use wick_core::cpu::Arg;
use wick_core::device::Rows;
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::op::{Op, Sc};

static SOURCE: Source = Source { name: "copies", text: include_str!("kernels/copies.cu") };

/// Segments of one launch: 3.5 KiB of arguments, of which a kernel may have 4.
const SEGMENTS: usize = 128;
/// Units (bytes of a copy, elements of a cast) of one block.
const COPY_UNITS: u64 = 16 << 10;
const CAST_UNITS: u64 = 8 << 10;
const THREADS: u32 = 256;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Segment {
    from: u64,
    to: u64,
    count: u64,
}
/// As in `copies.cu`.
#[repr(C)]
struct Segments {
    count: u32,
    first: [u32; SEGMENTS + 1],
    segment: [Segment; SEGMENTS],
}

fn copy_defines() -> String {
    format!("COPY SEGMENTS={SEGMENTS} UNITS={COPY_UNITS}")
}
fn cast_defines(from: DType, to: DType) -> String {
    format!("COPY SEGMENTS={SEGMENTS} UNITS={CAST_UNITS} FROM={} TO={}", type_name(from), type_name(to))
}

/// Copies, or casts where the dtypes differ, `(from, to)`: dense and of equal layout.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, copies: &[(Arg, Arg)]) -> Result<()> {
    let mut kinds: Vec<(DType, DType, Vec<Segment>)> = vec![];
    for (from, to) in copies.iter().filter(|c| c.1.numel() > 0) {
        let same = from.dtype == to.dtype;
        if !(same || from.dtype.is_float() && to.dtype.is_float()) {
            // Integers have rules of their own.
            unsafe { crate::pointwise::run(gpu, &Op::CopyInto, &[], &[*to, *from], &[])? };
            continue;
        }
        // Copies of every dtype are bytes and go together.
        let (kind, size) = if same { ((DType::U8, DType::U8), to.dtype.size()) } else { ((from.dtype, to.dtype), 1) };
        let segment = Segment { from: from.ptr as u64, to: to.ptr as u64, count: (to.numel() * size) as u64 };
        match kinds.iter_mut().find(|k| (k.0, k.1) == kind) {
            Some(known) => known.2.push(segment),
            None => kinds.push((kind.0, kind.1, vec![segment])),
        }
    }
    for (from, to, segments) in &kinds {
        let copy = from == to;
        let (defines, name, units) =
            if copy { (copy_defines(), "copy_many", COPY_UNITS) } else { (cast_defines(*from, *to), "cast_many", CAST_UNITS) };
        let kernel = gpu.kernel(&SOURCE, &defines, name)?;
        for part in segments.chunks(SEGMENTS) {
            let mut all = Segments { count: part.len() as u32, first: [0; SEGMENTS + 1], segment: [Segment::default(); SEGMENTS] };
            all.segment[..part.len()].copy_from_slice(part);
            for (i, s) in part.iter().enumerate() {
                all.first[i + 1] = all.first[i] + s.count.div_ceil(units) as u32;
            }
            gpu.launch(kernel, (all.first[part.len()], 1, 1), (THREADS, 1, 1), 0, args![all])?;
        }
    }
    Ok(())
}

/// Counters of one launch.
const COUNTERS: usize = 128;

fn count_defines() -> String {
    format!("COUNT COUNTERS={COUNTERS}")
}

/// Adds to each int64 number, an operand of one element.
pub fn count(gpu: &Gpu, params: &[f64], counters: &[(Arg, Sc)]) -> Result<()> {
    #[repr(C)]
    struct Counters {
        at: [u64; COUNTERS],
        by: [Scalar; COUNTERS],
    }
    for part in counters.chunks(COUNTERS) {
        let mut all = Counters { at: [0; COUNTERS], by: [Scalar { value: 0.0, param: 0 }; COUNTERS] };
        for (i, (x, by)) in part.iter().enumerate() {
            (all.at[i], all.by[i]) = (x.ptr as u64, gpu.scalar(by, params));
        }
        let count = part.len() as u32;
        let kernel = gpu.kernel(&SOURCE, &count_defines(), "count")?;
        gpu.launch(kernel, (1, 1, 1), (COUNTERS as u32, 1, 1), 0, args![count, all])?;
    }
    Ok(())
}

/// Row numbers that one launch may have: a launch of few carries few.
const FEW: usize = 64;
const MANY: usize = 960;
/// Tensors of one launch.
const SOURCES: usize = 4;
/// Bytes of the units that a row can be copied in, the widest first.
const UNITS: [u64; 5] = [16, 8, 4, 2, 1];

fn gather_defines(rows: usize) -> String {
    format!("GATHER ROWS={rows} SOURCES={SOURCES}")
}

/// As in `copies.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct GatherSource {
    source: u64,
    to: u64,
    /// In a row, of `size` bytes.
    units: u64,
    size: u64,
}
#[repr(C)]
struct Gather<const ROWS: usize> {
    of: [GatherSource; SOURCES],
    count: u32,
    row: [u32; ROWS],
}

/// Row `i` of each result is row `indices[i]` of its source.
///
/// # Safety
/// Every index is a row of each source, and there is room for all of them.
pub unsafe fn gather_rows(gpu: &Gpu, all: &[Rows], indices: &[u32]) -> Result<()> {
    let all: Vec<&Rows> = all.iter().filter(|r| r.bytes > 0).collect();
    for sources in all.chunks(SOURCES) {
        if indices.len() <= FEW {
            gather::<FEW>(gpu, sources, indices, 0)?;
            continue;
        }
        for (part, chunk) in indices.chunks(MANY).enumerate() {
            gather::<MANY>(gpu, sources, chunk, part * MANY)?;
        }
    }
    Ok(())
}

/// One launch: `indices` are those of the results' rows from `first` on.
fn gather<const ROWS: usize>(gpu: &Gpu, sources: &[&Rows], indices: &[u32], first: usize) -> Result<()> {
    let mut all = Gather::<ROWS> { of: [GatherSource::default(); SOURCES], count: indices.len() as u32, row: [0; ROWS] };
    all.row[..indices.len()].copy_from_slice(indices);
    let mut most = 0;
    for (of, r) in all.of.iter_mut().zip(sources) {
        let (source, to, bytes) = (r.source as u64, (r.to as usize + first * r.bytes) as u64, r.bytes as u64);
        let size = UNITS.into_iter().find(|size| (source | to | bytes).is_multiple_of(*size)).unwrap_or(1);
        *of = GatherSource { source, to, units: bytes / size, size };
        most = most.max(of.units * indices.len() as u64);
    }
    let kernel = gpu.kernel(&SOURCE, &gather_defines(ROWS), "gather_rows")?;
    let blocks = most.div_ceil(THREADS as u64).min(gpu.sms() as u64 * 16) as u32;
    gpu.launch(kernel, (blocks, sources.len() as u32, 1), (THREADS, 1, 1), 0, args![all])
}

/// Parameters that one launch changes.
const CHANGES: usize = 32;

fn params_defines() -> String {
    format!("PARAMS CHANGES={CHANGES}")
}

/// Writes parameters `(number, value)` of the plan's buffer, in the stream's order.
pub fn set_params(gpu: &Gpu, buffer: u64, changed: &[(u32, f64)]) -> Result<()> {
    #[repr(C)]
    struct Changes {
        index: [u32; CHANGES],
        value: [f64; CHANGES],
    }
    for part in changed.chunks(CHANGES) {
        let mut changes = Changes { index: [0; CHANGES], value: [0.0; CHANGES] };
        for (i, (index, value)) in part.iter().enumerate() {
            (changes.index[i], changes.value[i]) = (*index, *value);
        }
        let count = part.len() as u32;
        let kernel = gpu.kernel(&SOURCE, &params_defines(), "set_params")?;
        gpu.launch(kernel, (1, 1, 1), (CHANGES as u32, 1, 1), 0, args![buffer, count, changes])?;
    }
    Ok(())
}

/// Everything of this file that can be compiled.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = |n: &[&str]| n.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    let mut all = vec![(&SOURCE, copy_defines(), names(&["copy_many"])), (&SOURCE, params_defines(), names(&["set_params"]))];
    all.push((&SOURCE, count_defines(), names(&["count"])));
    all.extend([FEW, MANY].map(|rows| (&SOURCE, gather_defines(rows), names(&["gather_rows"]))));
    let floats = [DType::F16, DType::BF16, DType::F32, DType::F64];
    for from in floats {
        all.extend(floats.iter().filter(|to| **to != from).map(|to| (&SOURCE, cast_defines(from, *to), names(&["cast_many"]))));
    }
    all
}
