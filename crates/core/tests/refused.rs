//! Memory that is refused is an error of the type that says so, whichever request it was: as SQLite's tests do, an allocator refuses
//! the n-th request, for every n until a run meets none, and the engine works afterwards. Requests below `SMALL` aren't counted:
//! they are the bookkeeping of ops, plans and the tape, whose sizes no shape decides. Nor are those aligned to 128 bytes: the
//! packed panels of the crate `gemm`, as large as caches, which it asks for itself.
mod common;

use common::array::{Array, noise};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use wick_core::cpu::parallel::set_num_threads;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::{Code, Result};
use wick_core::op::{Conv2d, Dims, Op, ReduceKind, Reduction, Sc, View};
use wick_core::shape::Shape;

const SMALL: usize = 1 << 16;
/// Requests that were counted, and the first that is refused: it alone, or all from it on.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
static FROM_THERE: AtomicBool = AtomicBool::new(false);
static ON: AtomicBool = AtomicBool::new(false);

struct Refusing;
fn refuses(layout: Layout) -> bool {
    if layout.size() < SMALL || layout.align() == 128 || !ON.load(SeqCst) {
        return false;
    }
    let (this, refused) = (COUNT.fetch_add(1, SeqCst) + 1, REFUSED.load(SeqCst));
    this == refused || this > refused && FROM_THERE.load(SeqCst)
}
/// What the test itself asks for.
fn uncounted<T>(f: impl FnOnce() -> T) -> T {
    let was = ON.swap(false, SeqCst);
    let result = f();
    ON.store(was, SeqCst);
    result
}
// SAFETY: the system's allocator, but for null, which every caller must expect.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses(layout) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let grown = Layout::from_size_align(size, layout.align());
        if size > layout.size() && grown.is_ok_and(refuses) { std::ptr::null_mut() } else { unsafe { System.realloc(p, layout, size) } }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
}
#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

type Results = Vec<Vec<u8>>;

fn floats(e: &mut Engine, dtype: DType, shape: &[usize], salt: u64) -> Result<Handle> {
    let values = uncounted(|| Array::from_f64s(DType::F32, shape, &noise(shape.iter().product(), salt)));
    let x = values.upload(e)?;
    Ok(e.call(Op::Cast(dtype), &[x])?[0])
}
fn sum(e: &mut Engine, x: Handle) -> Result<Handle> {
    let rank = e.meta(x)?.shape.rank();
    Ok(e.call(Op::Reduce { kind: ReduceKind::Sum, dims: Dims::all(rank), keepdim: false }, &[x])?[0])
}
fn leaf(e: &mut Engine, dtype: DType, shape: &[usize], salt: u64) -> Result<Handle> {
    let x = floats(e, dtype, shape, salt)?;
    e.set_requires_grad(x, true)?;
    Ok(x)
}
fn read(e: &mut Engine, x: Handle) -> Result<Vec<u8>> {
    Ok(e.read(x)?.1)
}

/// A layer, its loss, gradients and an update.
fn training_step(e: &mut Engine) -> Result<Results> {
    let (w, b) = (leaf(e, DType::F32, &[300, 200], 1)?, leaf(e, DType::F32, &[300], 2)?);
    let group = e.group(&[w, b], 2)?;
    let x = floats(e, DType::F32, &[300, 200], 3)?;
    let target = e.call(Op::Fill { shape: Shape::new(&[300]), dtype: DType::I64, device: Device::Cpu, value: Sc::new(7.0) }, &[])?[0];
    for _ in 0..2 {
        e.scope_begin();
        let step = |e: &mut Engine| -> Result<()> {
            let y = e.call(Op::Linear { bias: true, relu: false }, &[x, w, b])?[0];
            let op = Op::CrossEntropy { ignore_index: -100, smoothing: Sc::new(0.1), reduction: Reduction::Mean, grad: false };
            let loss = e.call(op, &[y, target])?[0];
            e.backward(loss, None, false, false)?;
            e.adamw_step(group, 1e-3, 0.9, 0.99, 1e-8, 0.01, false, None)
        };
        let done = step(e);
        e.scope_end(&[])?;
        done?;
    }
    Ok(vec![read(e, w)?])
}
fn convolutions(e: &mut Engine, dtype: DType, channels: usize, kernel: usize, stride: usize) -> Result<Results> {
    let x = leaf(e, dtype, &[2, channels, 40, 40], 1)?;
    let w = leaf(e, dtype, &[64, channels, kernel, kernel], 2)?;
    let geometry = Conv2d { stride: [stride; 2], padding: [1, 1], dilation: [1, 1], groups: 1 };
    let y = e.call(Op::Conv2d { geometry, bias: false }, &[x, w])?[0];
    let loss = sum(e, y)?;
    e.backward(loss, None, false, false)?;
    let (gx, gw) = (e.grad_of(x)?.unwrap(), e.grad_of(w)?.unwrap());
    Ok(vec![read(e, y)?, read(e, gx)?, read(e, gw)?])
}
fn halves(e: &mut Engine, dtype: DType) -> Result<Results> {
    let (a, b) = (leaf(e, dtype, &[250, 260], 1)?, leaf(e, dtype, &[260, 240], 2)?);
    let y = e.call(Op::Matmul { mask: false }, &[a, b])?[0];
    let y = e.call(Op::Softmax { log: true }, &[y])?[0];
    let target = e.call(Op::Fill { shape: Shape::new(&[250]), dtype: DType::I64, device: Device::Cpu, value: Sc::new(7.0) }, &[])?[0];
    let op = Op::CrossEntropy { ignore_index: -100, smoothing: Sc::new(0.0), reduction: Reduction::Sum, grad: false };
    let loss = e.call(op, &[y, target])?[0];
    e.backward(loss, None, false, false)?;
    let mut out = vec![];
    for kind in [ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Argmax] {
        let r = e.call(Op::Reduce { kind, dims: Dims::of(&[0]), keepdim: false }, &[y])?[0];
        out.push(read(e, r)?);
    }
    Ok(out)
}
fn others(e: &mut Engine) -> Result<Results> {
    let x = floats(e, DType::F32, &[30_000], 1)?;
    let wide = e.call(Op::View(View::Expand(Shape::new(&[20, 30_000]))), &[x])?[0];
    let mut out = vec![read(e, wide)?];
    let sorted = e.call(Op::Sort { descending: false }, &[x])?;
    out.push(read(e, sorted[1])?);
    let doubles = e.call(Op::Cast(DType::F64), &[x])?[0];
    let sorted = e.call(Op::Sort { descending: true }, &[doubles])?;
    out.push(read(e, sorted[0])?);
    let run = e.call(Op::Cumsum { dim: 1 }, &[wide])?[0];
    out.push(read(e, run)?);
    let order = e.permutation(50_000, None)?;
    out.push(uncounted(|| order.iter().flat_map(|n| n.to_le_bytes()).collect()));
    // rows enough for partial sums that don't fit beside the result
    let tall = e.call(Op::View(View::Expand(Shape::new(&[64, 30_000]))), &[x])?[0];
    let s = e.call(Op::Reduce { kind: ReduceKind::Sum, dims: Dims::of(&[0]), keepdim: false }, &[tall])?[0];
    out.push(read(e, s)?);
    Ok(out)
}
/// As many tensors as make the table of handles grow.
fn many(e: &mut Engine) -> Result<Results> {
    e.scope_begin();
    let x = e.call(Op::Fill { shape: Shape::scalar(), dtype: DType::F32, device: Device::Cpu, value: Sc::new(1.0) }, &[])?[0];
    let made = (0..40_000).try_for_each(|_| e.call(Op::View(View::Detach), &[x]).map(drop));
    let kept = made.and_then(|_| Ok(vec![read(e, x)?]));
    e.scope_end(&[])?;
    kept
}
fn save_and_load(e: &mut Engine) -> Result<Results> {
    let path = std::env::temp_dir().join(format!("wick-refused-{}.safetensors", std::process::id()));
    let path = path.to_str().unwrap().to_string();
    let x = floats(e, DType::F32, &[40_000], 1)?;
    e.save_safetensors(&path, &[("x".to_string(), x)], &Default::default())?;
    let back = e.load_safetensors(&path);
    std::fs::remove_file(&path).unwrap();
    let h = back?.0[0].1;
    Ok(vec![read(e, h)?])
}

#[test]
fn every_refused_request_is_an_error_and_nothing_more() {
    type Run = Box<dyn Fn(&mut Engine) -> Result<Results> + Sync>;
    let runs: Vec<(&str, Run)> = vec![
        ("training step", Box::new(training_step)),
        ("convolution", Box::new(|e| convolutions(e, DType::F32, 16, 5, 2))),
        ("winograd", Box::new(|e| convolutions(e, DType::F32, 16, 3, 1))),
        ("convolution of few channels", Box::new(|e| convolutions(e, DType::F64, 3, 3, 1))),
        ("convolution of halves", Box::new(|e| convolutions(e, DType::BF16, 16, 3, 1))),
        ("float16", Box::new(|e| halves(e, DType::F16))),
        ("bfloat16", Box::new(|e| halves(e, DType::BF16))),
        ("others", Box::new(others)),
        ("many tensors", Box::new(many)),
        ("files", Box::new(save_and_load)),
    ];
    for threads in [1, 3] {
        set_num_threads(threads);
        for (name, run) in &runs {
            let want = run(&mut Engine::new()).unwrap();
            for from_there in [false, true] {
                FROM_THERE.store(from_there, SeqCst);
                let mut n = 1;
                loop {
                    // threads keep scratch and blocks from run to run: new ones meet every request
                    set_num_threads(threads);
                    let attempt = || {
                        let mut e = Engine::new();
                        COUNT.store(0, SeqCst);
                        REFUSED.store(n, SeqCst);
                        ON.store(true, SeqCst);
                        let outcome = run(&mut e);
                        ON.store(false, SeqCst);
                        e.manual_seed(0.0);
                        let again = run(&mut e).expect("the engine works afterwards");
                        assert!(again == want, "{name}: other results after request {n} was refused");
                        outcome
                    };
                    match std::thread::scope(|s| s.spawn(attempt).join().unwrap()) {
                        Ok(got) => assert!(got == want, "{name}: other results though request {n} was refused"),
                        Err(e) => assert_eq!(e.code, Code::OutOfMemory, "{name}, request {n}: {e}"),
                    }
                    if COUNT.load(SeqCst) < n {
                        break;
                    }
                    n += 1;
                }
                assert!(n > 3, "{name} asked for {} blocks", n - 1);
            }
        }
    }
}
