//! The CPU in a GPU's place: what a device's backend is asked for, on a machine without one.
use std::alloc::{alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Instant;
use wick_core::cpu::chain::{Chain, run_chain};
use wick_core::cpu::{self, Arg};
use wick_core::device::{Backend, Device, DeviceOption, Graph, Part, Properties, Rows};
use wick_core::error::{Error, Result};
use wick_core::op::Op;
use wick_core::ops;
use wick_core::shape::Layout;

type Call = Rc<dyn Fn(&[f64]) -> Result<()>>;
/// A call of a capture, with the buffer that its parameters are in and their number.
struct Captured {
    call: Call,
    params: *const f64,
    count: usize,
}
/// A capture is a list of calls, run with what their parameter buffers hold at the launch.
struct Calls(Vec<Captured>);
impl Graph for Calls {
    fn launch(&self) -> Result<()> {
        self.0.iter().try_for_each(|c| {
            let params: Vec<f64> = (0..c.count).map(|i| unsafe { c.params.add(i).read() }).collect();
            (c.call)(&params)
        })
    }
}

#[derive(Default)]
pub struct Host {
    properties: Properties,
    captured: RefCell<Option<Vec<Captured>>>,
    params: Cell<usize>,
    moments: RefCell<Vec<Instant>>,
}

impl Host {
    fn call(&self, params: &[f64], call: Call) -> Result<()> {
        match &mut *self.captured.borrow_mut() {
            Some(calls) => {
                let count = if self.params.get() == 0 { 0 } else { params.len() };
                calls.push(Captured { call, params: self.params.get() as *const f64, count });
                Ok(())
            }
            None => call(params),
        }
    }
}

fn layout(bytes: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(bytes.max(8), 256).expect("a size")
}

/// A row-major operand that stands for one which the CPU's kernels can't take as it lies.
struct Dense {
    words: Vec<u64>,
    of: Arg,
}
impl Dense {
    fn new(of: &Arg) -> Dense {
        Dense { words: vec![0; (of.numel() * of.dtype.size()).div_ceil(8)], of: *of }
    }
    fn arg(&self) -> Arg {
        Arg { ptr: self.words.as_ptr() as *mut u8, layout: Layout::contiguous(self.of.layout.shape), dtype: self.of.dtype }
    }
}

unsafe fn run_dense(op: Option<&Op>, ins: &[Arg], outs: &[Arg], run: impl FnOnce(&[Arg], &[Arg]) -> Result<()>) -> Result<()> {
    let needs = |i: usize, a: &Arg| {
        op.is_some_and(|op| ops::needs_contiguous(op, i, &a.layout, Device::Cpu)) && op.is_some_and(|op| op.writes() >> i & 1 == 0)
    };
    let dense_ins: Vec<Option<Dense>> = ins.iter().enumerate().map(|(i, a)| needs(i, a).then(|| Dense::new(a))).collect();
    let dense_outs: Vec<Dense> = outs.iter().map(Dense::new).collect();
    let copy = |from: Arg, to: Arg| unsafe { cpu::run(&Op::CopyInto, &[], &[to, from], &[]) };
    dense_ins.iter().flatten().try_for_each(|d| copy(d.of, d.arg()))?;
    let args: Vec<Arg> = ins.iter().zip(&dense_ins).map(|(a, d)| d.as_ref().map_or(*a, Dense::arg)).collect();
    run(&args, &dense_outs.iter().map(Dense::arg).collect::<Vec<_>>())?;
    dense_outs.iter().try_for_each(|d| copy(d.arg(), d.of))
}

impl Backend for Host {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    fn set_option(&self, _: DeviceOption, _: bool) {}
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).ok_or_else(|| Error::internal("no memory"))
    }
    fn release(&self, ptr: NonNull<u8>, bytes: usize) {
        unsafe { dealloc(ptr.as_ptr(), layout(bytes)) }
    }
    unsafe fn run(&self, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        let (op, ins, outs) = (op.clone(), ins.to_vec(), outs.to_vec());
        self.call(params, Rc::new(move |params| unsafe { run_dense(Some(&op), &ins, &outs, |i, o| cpu::run(&op, params, i, o)) }))
    }
    unsafe fn run_chain(&self, chain: &Chain, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        let dtypes: Vec<_> = ins.iter().map(|a| a.dtype).collect();
        let chain = Chain::new(chain.steps().to_vec(), chain.outputs().to_vec(), &dtypes)?;
        let (ins, outs) = (ins.to_vec(), outs.to_vec());
        self.call(params, Rc::new(move |params| unsafe { run_dense(None, &ins, &outs, |i, o| run_chain(&chain, params, i, o)) }))
    }
    unsafe fn run_together(&self, parts: &[Part], params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        let (parts, ins, outs) = (parts.to_vec(), ins.to_vec(), outs.to_vec());
        self.call(params, Rc::new(move |params| unsafe { cpu::run_together(&parts, params, &ins, &outs) }))
    }
    unsafe fn run_copies(&self, copies: &[(Arg, Arg)]) -> Result<()> {
        let copies = copies.to_vec();
        self.call(&[], Rc::new(move |_| copies.iter().try_for_each(|(from, to)| unsafe { cpu::run(&Op::CopyInto, &[], &[*to, *from], &[]) })))
    }
    unsafe fn upload(&self, bytes: usize, to: *mut u8, fill: &mut dyn FnMut(usize, &mut [u8])) -> Result<()> {
        // in pieces, as a GPU's
        let mut at = 0;
        while at < bytes {
            let n = (bytes - at).min(100);
            fill(at, unsafe { std::slice::from_raw_parts_mut(to.add(at), n) });
            at += n;
        }
        Ok(())
    }
    unsafe fn download(&self, from: *const u8, to: &mut [u8]) -> Result<()> {
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) };
        Ok(())
    }
    unsafe fn copy(&self, from: *const u8, to: *mut u8, bytes: usize) -> Result<()> {
        unsafe { to.copy_from_nonoverlapping(from, bytes) };
        Ok(())
    }
    unsafe fn fill(&self, to: *mut u8, byte: u8, bytes: usize) -> Result<()> {
        unsafe { to.write_bytes(byte, bytes) };
        Ok(())
    }
    unsafe fn gather_rows(&self, all: &[Rows], indices: &[u32]) -> Result<()> {
        for Rows { source, bytes, to } in all {
            let row = |i: usize, r: u32| unsafe { to.add(i * bytes).copy_from_nonoverlapping(source.add(r as usize * bytes), *bytes) };
            indices.iter().enumerate().for_each(|(i, r)| row(i, *r));
        }
        Ok(())
    }
    fn free_memory(&self) -> Result<usize> {
        Ok(1 << 30)
    }
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
    fn trim(&self) -> Result<()> {
        Ok(())
    }
    fn begin_capture(&self) -> Result<()> {
        *self.captured.borrow_mut() = Some(vec![]);
        Ok(())
    }
    fn end_capture(&self) -> Result<Box<dyn Graph>> {
        let calls = self.captured.borrow_mut().take().ok_or_else(|| Error::internal("no capture"))?;
        Ok(Box::new(Calls(calls)))
    }
    fn set_lane(&self, _: usize) {}
    fn record(&self, _: usize) -> Result<()> {
        Ok(())
    }
    fn wait(&self, _: usize) -> Result<()> {
        Ok(())
    }
    fn use_params(&self, buffer: *mut u8) {
        self.params.set(buffer as usize);
    }
    fn set_params(&self, buffer: *mut u8, changed: &[(u32, f64)]) -> Result<()> {
        changed.iter().for_each(|(i, v)| unsafe { buffer.cast::<f64>().add(*i as usize).write(*v) });
        Ok(())
    }
    fn moment(&self) -> Result<usize> {
        if self.captured.borrow().is_some() {
            return Err(Error::internal("a moment in a capture"));
        }
        self.moments.borrow_mut().push(Instant::now());
        Ok(self.moments.borrow().len() - 1)
    }
    fn elapsed(&self, from: usize, to: usize) -> Result<f64> {
        let moments = self.moments.borrow();
        Ok(moments[to].duration_since(moments[from]).as_secs_f64() * 1e6)
    }
    fn forget_moments(&self) {
        self.moments.borrow_mut().clear();
    }
    fn hold(&self, _: u32) -> Result<()> {
        Ok(())
    }
}
