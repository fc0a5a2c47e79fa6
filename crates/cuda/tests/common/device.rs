//! What the device does besides ops: memory, copies, capture, errors; and sizes beyond 2^31.
use crate::array::Array;
use crate::compare::difference;
use crate::operand::{Image, Placed, put};
use std::process::{Command, ExitCode};
use std::ptr::NonNull;
use wick_core::cpu::Arg;
use wick_core::device::{Backend, Device, Part, Rows};
use wick_core::dtype::DType;
use wick_core::error::{Code, Result};
use wick_core::op::{Binary, Dims, Op, ReduceKind, Sc, Unary};
use wick_core::shape::{Layout, Shape};

type Check = fn(&dyn Backend) -> Result<Vec<String>>;

pub fn checks() -> Vec<(&'static str, Check)> {
    vec![
        ("upload and download", round_trips),
        ("uploads beside work", uploads_beside_work),
        ("many copies", many_copies),
        ("ops that run together", together),
        ("gather rows", gathered_rows),
        ("parameters", parameters),
        ("empty tensors", empty),
        ("two lanes in a graph", lanes),
        ("moments of the streams", moments),
        ("a failed capture", failed_capture),
        ("memory released in a capture", released_in_capture),
        ("2000 captures and replays", many_graphs),
        ("an index out of range", crate::cases::index::wrong_indices),
        ("out of memory", out_of_memory),
        ("more than 2^31 elements", huge),
        ("more than 2^31 elements, transposed", huge_transposed),
        ("a lost context", lost_context),
    ]
}

/// Memory that is given back when it goes out of scope.
struct Buffer<'a> {
    backend: &'a dyn Backend,
    ptr: NonNull<u8>,
    bytes: usize,
}
impl<'a> Buffer<'a> {
    fn new(backend: &'a dyn Backend, bytes: usize) -> Result<Buffer<'a>> {
        Ok(Buffer { backend, ptr: backend.allocate(bytes)?, bytes })
    }
    fn of(backend: &'a dyn Backend, data: &[u8]) -> Result<Buffer<'a>> {
        let b = Buffer::new(backend, data.len())?;
        unsafe { put(backend, data, b.ptr.as_ptr())? };
        Ok(b)
    }
    fn at(&self, byte: usize) -> *mut u8 {
        self.ptr.as_ptr().wrapping_add(byte)
    }
    fn read(&self, from: usize, bytes: usize) -> Result<Vec<u8>> {
        let mut out = vec![0x33; bytes];
        unsafe { self.backend.download(self.at(from), &mut out)? };
        Ok(out)
    }
    fn floats(&self, from: usize, n: usize) -> Result<Vec<f32>> {
        Ok(self.read(from * 4, n * 4)?.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    }
    fn arg(&self, shape: &[usize], dtype: DType) -> Arg {
        Arg { ptr: self.ptr.as_ptr(), layout: Layout::contiguous(Shape::new(shape)), dtype }
    }
}
impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.backend.release(self.ptr, self.bytes);
    }
}

fn pattern(n: usize, salt: usize) -> Vec<u8> {
    (0..n).map(|i| (i.wrapping_mul(2654435761).wrapping_add(salt * 97) >> 7) as u8).collect()
}

fn round_trips(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    let block = 4 << 20;
    for (i, n) in [0, 1, 3, 64, 4096, block - 1, block, block + 1, 3 * block, 33 * (1 << 20) + 5].into_iter().enumerate() {
        let data = pattern(n, i);
        let b = Buffer::new(backend, n + 8)?;
        unsafe { put(backend, &data, b.at(i % 3))? };
        if b.read(i % 3, n)? != data {
            problems.push(format!("{n} bytes don't come back"));
        }
    }
    // Uploads far ahead of the device, each to a place of its own.
    let b = Buffer::new(backend, 3000 * 5000)?;
    for i in 0..3000 {
        unsafe { put(backend, &pattern(5000, i), b.at(i * 5000))? };
    }
    let all = b.read(0, 3000 * 5000)?;
    problems.extend((0..3000).find(|i| all[i * 5000..][..5000] != pattern(5000, *i)).map(|i| format!("upload {i} of many is wrong")));
    let (from, to) = (Buffer::of(backend, &pattern(1001, 5))?, Buffer::new(backend, 1001)?);
    unsafe {
        backend.fill(to.at(0), 7, 1001)?;
        backend.copy(from.at(1), to.at(0), 900)?;
    }
    if to.read(0, 1001)? != [&pattern(1001, 5)[1..901], &[7; 101][..]].concat() {
        problems.push("a copy on the device is wrong".into());
    }
    Ok(problems)
}

fn many_copies(backend: &dyn Backend) -> Result<Vec<String>> {
    let dtypes = [
        (DType::F32, DType::F32),
        (DType::F32, DType::BF16),
        (DType::BF16, DType::F32),
        (DType::F64, DType::F16),
        (DType::U8, DType::U8),
        (DType::I64, DType::F32),
        (DType::F16, DType::F16),
    ];
    let sizes = [0, 1, 5, 8, 31, 1000, 8192, 8193, 100_003];
    let (mut from, mut to, mut want) = (vec![], vec![], vec![]);
    for i in 0..300 {
        let (a, b) = dtypes[i % dtypes.len()];
        let n = sizes[i % sizes.len()];
        let values: Vec<f64> =
            (0..n).map(|k| ((k * 37 + i) % 251) as f64 - if a == DType::U8 { 0.0 } else { 90.0 } + if a.is_float() { 0.125 } else { 0.0 }).collect();
        let layout = |dtype: DType, skip: usize| Image::filled(Layout::new(Shape::new(&[n]), &[1], skip), dtype, 0xff);
        let source = Array::from_f64s(a, &[n], &values);
        from.push(Placed::new(backend, Image::viewed(&source, &Layout::contiguous(Shape::new(&[n])), false))?);
        to.push(Placed::new(backend, layout(b, i % 4))?);
        want.push(Array::from_f64s(b, &[n], &source.f64s()));
    }
    let copies: Vec<(Arg, Arg)> = from.iter().zip(&to).map(|(f, t)| (f.arg(None), t.arg(None))).collect();
    unsafe { backend.run_copies(&copies)? };
    let mut problems = vec![];
    for (i, (t, want)) in to.iter().zip(&want).enumerate() {
        let now = t.now()?;
        problems.extend(difference(&now.array(), want, 0.0).map(|d| format!("copy {i} {d}")));
        if !now.same_around(&t.image) {
            problems.push(format!("memory around copy {i} was written"));
        }
    }
    Ok(problems)
}

/// Ops in one launch give the bits of ops that are launched one by one.
fn together(backend: &dyn Backend) -> Result<Vec<String>> {
    let sum = |dims: &[usize]| Op::Reduce { kind: ReduceKind::Sum, dims: Dims::of(dims), keepdim: false };
    let count = |by: f64| Op::ScalarInto { op: Binary::Add, value: Sc::new(by) };
    // an op, its operands and its results
    type Operand = (Vec<usize>, DType);
    let mut list: Vec<(Op, Vec<Operand>, Vec<Operand>)> = vec![];
    for i in 0..150 {
        let n = vec![[1, 7, 64, 1000, 9001][i % 5]];
        list.push((count(i as f64 - 3.5), vec![(vec![], DType::I64)], vec![]));
        list.push((Op::Cast(DType::BF16), vec![(n.clone(), DType::F32)], vec![(n.clone(), DType::BF16)]));
        list.push((Op::CopyInto, vec![(n.clone(), DType::F32), (n.clone(), DType::BF16)], vec![]));
        list.push((Op::CopyInto, vec![(n.clone(), DType::F32), (n, DType::F32)], vec![]));
    }
    for [rows, columns] in [[32, 10], [32, 64], [32, 128], [512, 128], [7, 5], [1, 24], [300, 3], [4000, 40], [32, 1], [0, 6], [64, 1000], [33, 20]] {
        for dtype in [DType::F32, DType::BF16] {
            list.push((sum(&[0]), vec![(vec![rows, columns], dtype)], vec![(vec![columns], dtype)]));
        }
    }
    list.push((sum(&[1]), vec![(vec![9, 30], DType::F32)], vec![(vec![9], DType::F32)]));
    let bytes = |(shape, dtype): &Operand| shape.iter().product::<usize>() * dtype.size();
    let fresh = || -> Result<Vec<[Vec<Buffer>; 2]>> {
        let number = |i: usize, k: usize| ((i * 37 + k * 101) % 199) as f64 / 16.0 - 5.0;
        let buffer = |i: usize, x: &Operand| {
            let n = x.0.iter().product::<usize>();
            Buffer::of(backend, &Array::from_f64s(x.1, &[n], &(0..n).map(|k| number(i, k)).collect::<Vec<_>>()).bytes)
        };
        let mut salt = 0..;
        list.iter()
            .map(|(_, ins, outs)| {
                let ins = ins.iter().map(|x| buffer(salt.next().unwrap_or(0), x)).collect::<Result<_>>()?;
                Ok([ins, outs.iter().map(|x| Buffer::new(backend, bytes(x))).collect::<Result<_>>()?])
            })
            .collect()
    };
    let args = |buffers: &[Buffer], of: &[Operand]| buffers.iter().zip(of).map(|(b, x)| b.arg(&x.0, x.1)).collect::<Vec<_>>();
    let (alone, all) = (fresh()?, fresh()?);
    let (mut parts, mut ins, mut outs) = (vec![], vec![], vec![]);
    for ((op, i, o), (one, many)) in list.iter().zip(alone.iter().zip(&all)) {
        unsafe { backend.run(op, &[], &args(&one[0], i), &args(&one[1], o))? };
        parts.push(Part { op: op.clone(), ins: i.len(), outs: o.len() });
        ins.extend(args(&many[0], i));
        outs.extend(args(&many[1], o));
    }
    unsafe { backend.run_together(&parts, &[], &ins, &outs)? };
    let mut problems = vec![];
    for ((op, i, o), (one, many)) in list.iter().zip(alone.iter().zip(&all)) {
        let pairs = one[0].iter().zip(&many[0]).chain(one[1].iter().zip(&many[1]));
        for ((a, b), x) in pairs.zip(i.iter().chain(o)) {
            if a.read(0, bytes(x))? != b.read(0, bytes(x))? {
                problems.push(format!("{} of {x:?} differs", op.name()));
            }
        }
    }
    Ok(problems)
}

fn gathered_rows(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    for row in [1, 3, 4, 8, 12, 16, 784, 3136, 3137] {
        let rows = 401;
        let data = pattern(rows * row, row);
        let source = Buffer::of(backend, &data)?;
        for n in [0, 1, 64, 960, 961, 2500] {
            let indices: Vec<u32> = (0..n as u32).map(|i| (i * 7919 + 13) % rows as u32).collect();
            let to = Buffer::new(backend, n * row)?;
            unsafe { backend.gather_rows(&[Rows { source: source.at(0), bytes: row, to: to.at(0) }], &indices)? };
            let want: Vec<u8> = indices.iter().flat_map(|i| data[*i as usize * row..][..row].to_vec()).collect();
            if to.read(0, n * row)? != want {
                problems.push(format!("{n} rows of {row} bytes"));
            }
        }
    }
    // several tensors at once, more than one launch takes
    let widths = [8, 0, 3, 784, 2, 20, 1];
    let sources = widths.map(|w| pattern(300 * w, w));
    let from = sources.iter().map(|s| Buffer::of(backend, s)).collect::<Result<Vec<_>>>()?;
    for n in [5, 64, 65, 1000] {
        let indices: Vec<u32> = (0..n as u32).map(|i| (i * 7919 + 13) % 300).collect();
        let to = widths.iter().map(|w| Buffer::new(backend, n * w)).collect::<Result<Vec<_>>>()?;
        let all: Vec<Rows> = (0..widths.len()).map(|k| Rows { source: from[k].at(0), bytes: widths[k], to: to[k].at(0) }).collect();
        unsafe { backend.gather_rows(&all, &indices)? };
        for (k, w) in widths.into_iter().enumerate() {
            let want: Vec<u8> = indices.iter().flat_map(|i| sources[k][*i as usize * w..][..w].to_vec()).collect();
            if to[k].read(0, n * w)? != want {
                problems.push(format!("{n} rows of {w} bytes, one of several tensors"));
            }
        }
    }
    Ok(problems)
}

/// Large uploads to one place, each taken from there by work of the device, which is behind: the copy stream must not be ahead of it.
fn uploads_beside_work(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    let size = 1_500_000;
    let (place, kept) = (Buffer::new(backend, size)?, Buffer::new(backend, 60 * size)?);
    for i in 0..60 {
        if i % 20 == 0 {
            backend.hold(20_000)?;
        }
        unsafe {
            put(backend, &pattern(size, i), place.at(0))?;
            backend.copy(place.at(0), kept.at(i * size), size)?;
        }
    }
    for i in 0..60 {
        if kept.read(i * size, size)? != pattern(size, i) {
            problems.push(format!("upload {i}"));
        }
    }
    // far more than the ring holds
    let (large, size) = (pattern(300 << 20, 7), 300 << 20);
    let b = Buffer::new(backend, size)?;
    backend.hold(20_000)?;
    unsafe { put(backend, &large, b.at(0))? };
    if b.read(0, size)? != large {
        problems.push("300 MiB".into());
    }
    Ok(problems)
}

fn parameters(backend: &dyn Backend) -> Result<Vec<String>> {
    let b = Buffer::new(backend, 100 * 8)?;
    unsafe { backend.fill(b.at(0), 0, 800)? };
    let changed: Vec<(u32, f64)> = (0..100u32).filter(|i| i % 3 != 0).map(|i| (99 - i, i as f64 + 0.5)).collect();
    backend.set_params(b.at(0), &changed)?;
    let mut want = vec![0.0; 100];
    changed.iter().for_each(|(i, v)| want[*i as usize] = *v);
    let got = Array { dtype: DType::F64, shape: vec![100], bytes: b.read(0, 800)? };
    Ok(difference(&got, &Array::from_f64s(DType::F64, &[100], &want), 0.0).into_iter().collect())
}

fn empty(backend: &dyn Backend) -> Result<Vec<String>> {
    let none = Buffer::new(backend, 0)?;
    let f32s = |shape: &[usize]| none.arg(shape, DType::F32);
    let (some, index) = (Buffer::of(backend, &[0; 64])?, none.arg(&[0], DType::I64));
    let sum = Buffer::of(backend, &[0xff; 48])?;
    let runs: Vec<(Op, Vec<Arg>, Vec<Arg>)> = vec![
        (Op::Unary(Unary::Exp), vec![f32s(&[0, 3])], vec![f32s(&[0, 3])]),
        (Op::Binary(Binary::Add), vec![f32s(&[0, 3]), f32s(&[0, 3])], vec![f32s(&[0, 3])]),
        (Op::Contiguous, vec![f32s(&[3, 0])], vec![f32s(&[3, 0])]),
        (Op::Cast(DType::F16), vec![f32s(&[0])], vec![none.arg(&[0], DType::F16)]),
        (Op::Fill { shape: Shape::new(&[0]), dtype: DType::F32, device: Device::Cuda(0), value: Sc::new(1.0) }, vec![], vec![f32s(&[0])]),
        (Op::Softmax { log: false }, vec![f32s(&[0, 5])], vec![f32s(&[0, 5])]),
        (Op::Matmul { mask: false }, vec![f32s(&[0, 4]), f32s(&[4, 3])], vec![f32s(&[0, 3])]),
        (Op::Matmul { mask: false }, vec![f32s(&[3, 0]), f32s(&[0, 4])], vec![sum.arg(&[3, 4], DType::F32)]),
        (Op::IndexSelect { dim: 0 }, vec![some.arg(&[4, 4], DType::F32), index], vec![f32s(&[0, 4])]),
        (Op::Cat { dim: 0 }, vec![f32s(&[0, 4]), some.arg(&[4, 4], DType::F32)], vec![some.arg(&[4, 4], DType::F32)]),
        (Op::CopyInto, vec![f32s(&[0]), f32s(&[0])], vec![]),
        (Op::Sort { descending: false }, vec![f32s(&[0, 5])], vec![f32s(&[0, 5]), none.arg(&[0, 5], DType::I64)]),
        (Op::Cumsum { dim: 0 }, vec![f32s(&[0, 5])], vec![f32s(&[0, 5])]),
    ];
    let mut problems = vec![];
    for (op, ins, outs) in &runs {
        if let Err(e) = unsafe { backend.run(op, &[], ins, outs) } {
            problems.push(e.to_string());
        }
    }
    if sum.floats(0, 12)? != [0.0; 12] {
        problems.push("a product over nothing isn't 0".into());
    }
    let total = Op::Reduce { kind: ReduceKind::Sum, dims: Dims::of(&[0]), keepdim: false };
    unsafe { backend.run(&total, &[], &[f32s(&[0, 4])], &[sum.arg(&[4], DType::F32)])? };
    if sum.floats(0, 4)? != [0.0; 4] {
        problems.push("a sum over nothing isn't 0".into());
    }
    unsafe {
        put(backend, &[], none.at(0))?;
        backend.download(none.at(0), &mut [])?;
        backend.copy(none.at(0), none.at(0), 0)?;
        backend.fill(none.at(0), 1, 0)?;
        backend.run_copies(&[])?;
        backend.run_copies(&[(f32s(&[0]), f32s(&[0]))])?;
    }
    backend.set_params(none.at(0), &[])?;
    backend.synchronize()?;
    Ok(problems)
}

fn scale(backend: &dyn Backend, x: &Buffer, n: usize, by: f64) -> Result<()> {
    let op = Op::ScalarInto { op: Binary::Mul, value: Sc::new(by) };
    unsafe { backend.run(&op, &[], &[x.arg(&[n], DType::F32)], &[]) }
}
fn ones(backend: &dyn Backend, x: &Buffer, n: usize) -> Result<()> {
    let op = Op::Fill { shape: Shape::new(&[n]), dtype: DType::F32, device: Device::Cuda(0), value: Sc::new(1.0) };
    unsafe { backend.run(&op, &[], &[], &[x.arg(&[n], DType::F32)]) }
}

/// A hold lies between the moments around it, on either stream; numbers begin anew.
fn moments(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    for round in 0..2 {
        backend.forget_moments();
        for lane in 0..2 {
            backend.set_lane(lane);
            let from = backend.moment()?;
            backend.hold(500)?;
            let to = backend.moment()?;
            backend.synchronize()?;
            if (from, to) != (2 * lane, 2 * lane + 1) {
                problems.push(format!("round {round}: moments {from} and {to}"));
            }
            let elapsed = backend.elapsed(from, to)?;
            if elapsed < 490.0 {
                problems.push(format!("500 us on stream {lane} took {elapsed} us"));
            }
        }
        backend.set_lane(0);
    }
    if backend.elapsed(0, 9).is_ok() {
        problems.push("a moment that wasn't noted has a time".into());
    }
    Ok(problems)
}

/// Compute forks to side and joins it: order within each lane and between them.
fn lanes(backend: &dyn Backend) -> Result<Vec<String>> {
    let n = 1 << 20;
    let (a, b, sum) = (Buffer::new(backend, n * 4)?, Buffer::new(backend, n * 4)?, Buffer::new(backend, n * 4)?);
    let work = || -> Result<()> {
        ones(backend, &a, n)?;
        unsafe { backend.copy(a.at(0), b.at(0), n * 4)? };
        backend.record(0)?;
        backend.set_lane(1);
        backend.wait(0)?;
        (0..20).try_for_each(|_| scale(backend, &b, n, 2.0))?;
        backend.record(1)?;
        backend.set_lane(0);
        (0..10).try_for_each(|_| scale(backend, &a, n, 2.0))?;
        backend.wait(1)?;
        let (a, b, sum) = (a.arg(&[n], DType::F32), b.arg(&[n], DType::F32), sum.arg(&[n], DType::F32));
        unsafe { backend.run(&Op::Binary(Binary::Add), &[], &[a, b], &[sum]) }
    };
    let want = 1024.0 + 1048576.0;
    let mut problems = vec![];
    work()?;
    if sum.floats(0, n)?.iter().any(|v| *v != want) {
        problems.push("wrong without a graph".into());
    }
    backend.begin_capture()?;
    let done = work();
    let graph = backend.end_capture()?;
    done?;
    for _ in 0..10 {
        unsafe { backend.fill(sum.at(0), 0xff, n * 4)? };
        graph.launch()?;
        if sum.floats(0, n)?.iter().any(|v| *v != want) {
            problems.push("wrong in a graph".into());
        }
    }
    Ok(problems)
}

/// An error while capturing, and a capture that was never joined: the device goes on.
fn failed_capture(backend: &dyn Backend) -> Result<Vec<String>> {
    let n = 4096;
    let x = Buffer::new(backend, n * 4)?;
    ones(backend, &x, n)?;
    scale(backend, &x, n, 1.0)?;
    let mut problems = vec![];
    backend.begin_capture()?;
    if x.read(0, 4).is_ok() || backend.allocate(16).is_ok() || backend.begin_capture().is_ok() {
        problems.push("a capture allowed what it can't hold".into());
    }
    scale(backend, &x, n, 3.0)?;
    drop(backend.end_capture()?);
    if x.floats(0, n)?.iter().any(|v| *v != 1.0) {
        problems.push("a capture ran".into());
    }
    backend.begin_capture()?;
    backend.record(2)?;
    backend.set_lane(1);
    backend.wait(2)?;
    scale(backend, &x, n, 3.0)?;
    if backend.end_capture().is_ok() {
        problems.push("a lane that wasn't joined is no error".into());
    }
    if backend.end_capture().is_ok() {
        problems.push("a capture ended twice".into());
    }
    scale(backend, &x, n, 5.0)?;
    if x.floats(0, n)?.iter().any(|v| *v != 5.0) {
        problems.push("the device doesn't go on".into());
    }
    Ok(problems)
}

fn released_in_capture(backend: &dyn Backend) -> Result<Vec<String>> {
    let n = 1 << 16;
    let x = Buffer::new(backend, n * 4)?;
    ones(backend, &x, n)?;
    let other = Buffer::new(backend, n * 4)?;
    backend.begin_capture()?;
    scale(backend, &x, n, 2.0)?;
    drop(other);
    let graph = backend.end_capture()?;
    let again = Buffer::new(backend, n * 4)?;
    ones(backend, &again, n)?;
    (0..3).try_for_each(|_| graph.launch())?;
    let right = x.floats(0, n)?.iter().all(|v| *v == 8.0) && again.floats(0, n)?.iter().all(|v| *v == 1.0);
    Ok(if right { vec![] } else { vec!["wrong values".into()] })
}

/// Bytes in use on the device, and by this process on the host.
fn usage() -> (usize, usize) {
    let (free, total) = cudarc::driver::result::mem_get_info().unwrap_or_default();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    (total - free, pages * 4096)
}

fn many_graphs(backend: &dyn Backend) -> Result<Vec<String>> {
    let n = 4096;
    let x = Buffer::new(backend, n * 4)?;
    let mut before = (0, 0);
    for i in 0..2000 {
        ones(backend, &x, n)?;
        backend.begin_capture()?;
        let done = (0..5).try_for_each(|_| scale(backend, &x, n, 2.0));
        let graph = backend.end_capture()?;
        done?;
        graph.launch()?;
        if i == 200 {
            backend.synchronize()?;
            before = usage();
        }
    }
    let values = x.floats(0, n)?;
    let after = usage();
    let mut problems = vec![];
    if values.iter().any(|v| *v != 32.0) {
        problems.push(format!("{} instead of 32", values[0]));
    }
    for (what, before, after) in [("device", before.0, after.0), ("host", before.1, after.1)] {
        if after > before + (16 << 20) {
            problems.push(format!("{what} memory grew from {before} to {after} bytes"));
        }
    }
    Ok(problems)
}

fn out_of_memory(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    let total = backend.properties().memory_bytes;
    match backend.allocate(2 * total) {
        Ok(p) => {
            backend.release(p, 2 * total);
            problems.push("twice the device's memory was given".into());
        }
        Err(e) if e.code == Code::OutOfMemory && e.message.contains("GiB") => {}
        Err(e) => problems.push(format!("{:?}: {e}", e.code)),
    }
    // In small steps until there is no more; then all of it again in one piece.
    let block = 1 << 30;
    let mut held = vec![];
    let refused = loop {
        match Buffer::new(backend, block) {
            Ok(b) => held.push(b),
            Err(e) => break e,
        }
    };
    if refused.code != Code::OutOfMemory || held.len() * block < total / 2 {
        problems.push(format!("{refused} after {} blocks", held.len()));
    }
    let count = held.len();
    held.truncate(1);
    unsafe { backend.fill(held[0].at(0), 9, block)? };
    if held[0].read(block - 64, 64)? != [9; 64] {
        problems.push("the device doesn't work after it".into());
    }
    held.clear();
    let large = count * block / 2;
    let b = Buffer::new(backend, large)?;
    unsafe { backend.fill(b.at(0), 3, large)? };
    if b.read(large - 64, 64)? != [3; 64] {
        problems.push("memory isn't given again in one piece".into());
    }
    // For other processes, as the one that the last check starts.
    drop(b);
    backend.trim()?;
    Ok(problems)
}

const HUGE: usize = (1 << 31) + 1027;

/// Places to look at: both ends, and around 2^31.
fn windows(n: usize) -> [usize; 3] {
    [0, (1 << 31) - 2048, n - 4096]
}

fn huge(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    let (x, y) = (Buffer::new(backend, HUGE * 4)?, Buffer::new(backend, HUGE * 4)?);
    let (xs, ys) = (x.arg(&[HUGE], DType::F32), y.arg(&[HUGE], DType::F32));
    let mut look = |what: &str, b: &Buffer, want: f32| -> Result<()> {
        for from in windows(HUGE) {
            let n = 4096.min(HUGE - from);
            if let Some(i) = b.floats(from, n)?.iter().position(|v| *v != want) {
                problems.push(format!("{what}: element {} is wrong", from + i));
            }
        }
        Ok(())
    };
    let fill = Op::Fill { shape: Shape::new(&[HUGE]), dtype: DType::F32, device: Device::Cuda(0), value: Sc::new(1.5) };
    unsafe {
        backend.run(&fill, &[], &[], &[xs])?;
        look("fill", &x, 1.5)?;
        backend.fill(y.at(0), 0xff, HUGE * 4)?;
        backend.run(&Op::Contiguous, &[], &[xs], &[ys])?;
        look("copy", &y, 1.5)?;
        backend.run(&Op::Binary(Binary::Add), &[], &[xs, ys], &[ys])?;
        look("add", &y, 3.0)?;
        backend.run(&Op::ScalarInto { op: Binary::Mul, value: Sc::new(2.0) }, &[], &[xs], &[])?;
        backend.run_copies(&[(xs, ys)])?;
        look("copies", &y, 3.0)?;
    }
    let total = Buffer::new(backend, 4)?;
    let sum = Op::Reduce { kind: ReduceKind::Sum, dims: Dims::all(1), keepdim: false };
    unsafe { backend.run(&sum, &[], &[ys], &[total.arg(&[], DType::F32)])? };
    let (got, want) = (total.floats(0, 1)?[0] as f64, 3.0 * HUGE as f64);
    if (got - want).abs() > 1e-5 * want {
        problems.push(format!("sum is {got}, not {want}"));
    }
    Ok(problems)
}

/// Bytes [2, n] seen as [n, 2]: strides beyond 2^30.
fn huge_transposed(backend: &dyn Backend) -> Result<Vec<String>> {
    let n = HUGE / 2 + 1;
    let (x, y) = (Buffer::new(backend, 2 * n)?, Buffer::new(backend, 2 * n)?);
    unsafe {
        backend.fill(x.at(0), 1, n)?;
        backend.fill(x.at(n), 2, n)?;
        let turned = Arg { layout: Layout::contiguous(Shape::new(&[2, n])).permute(&[1, 0]), ..x.arg(&[2, n], DType::U8) };
        backend.run(&Op::Contiguous, &[], &[turned], &[y.arg(&[n, 2], DType::U8)])?;
    }
    let mut problems = vec![];
    for from in windows(2 * n) {
        let from = from & !1;
        if y.read(from, 4096.min(2 * n - from))?.chunks_exact(2).any(|c| c != [1, 2]) {
            problems.push(format!("wrong after element {from}"));
        }
    }
    Ok(problems)
}

/// The argument that makes this program lose its context on purpose.
pub const LOSE_CONTEXT: &str = "--lose-context";

/// An illegal address: an error now, a clear one ever after, and neither a panic nor a hang.
fn lost_context(_: &dyn Backend) -> Result<Vec<String>> {
    let program = std::env::current_exe().expect("the path of this test");
    let ended = Command::new(program).arg(LOSE_CONTEXT).output().expect("this test");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    Ok(if ended.status.success() { vec![] } else { vec![format!("{} {text} {}", ended.status, String::from_utf8_lossy(&ended.stderr))] })
}

/// The process that [`lost_context`] starts.
pub fn lose_context() -> ExitCode {
    let backend = wick_cuda::open(0).expect("a GPU");
    let nowhere = Arg { ptr: 0x1000 as *mut u8, layout: Layout::contiguous(Shape::new(&[1 << 16])), dtype: DType::F32 };
    let op = Op::ScalarInto { op: Binary::Mul, value: Sc::new(2.0) };
    let first = unsafe { backend.run(&op, &[], &[nowhere], &[]) }.and_then(|()| backend.synchronize());
    let x = backend.allocate(1024);
    let later = [x.err(), backend.synchronize().err(), unsafe { backend.run(&op, &[], &[nowhere], &[]) }.err(), backend.begin_capture().err()];
    println!("{first:?} {later:?}");
    let named = first.err().is_some_and(|e| e.code == Code::Cuda && e.message.contains("CUDA_ERROR_ILLEGAL_ADDRESS"));
    let clear = later.iter().all(|e| e.as_ref().is_some_and(|e| e.code == Code::Cuda && e.message.contains("context is lost")));
    if named && clear { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
