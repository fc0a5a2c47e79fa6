//! wick-cuda: tensors, kernels and plans on NVIDIA GPUs. CUDA's libraries are found at run time (see [`probe`]); nothing of
//! CUDA is needed to build this crate, and it loads on a machine without a GPU.
//!
//! `gpu.rs` is what kernels are launched with, `backend.rs` what the engine sees; each family of ops has a file here under the
//! same name as in `wick_core::cpu`, and its kernels in `kernels/`, compiled by NVRTC on first use.
mod backend;
mod blas;
mod chain;
mod context;
mod conv;
mod copies;
mod counters;
mod creation;
pub mod dnn;
mod elf;
mod fault;
mod geometry;
mod gpu;
mod graph;
mod index;
mod libs;
mod linalg;
mod loss;
mod moments;
mod norm;
pub mod nvrtc;
mod optim;
mod pointwise;
mod pool;
mod reduce;
mod softmax;
mod sort;
mod staging;
mod together;
mod transpose;
mod walk;

pub use libs::{Library, probe};
use std::rc::Rc;
use wick_core::device::Backend;
use wick_core::error::Result;

/// Opens CUDA device `index` for the calling thread. `Code::NotSupported` says which library, driver or device is missing.
pub fn open(index: u8) -> Result<Rc<dyn Backend>> {
    Ok(Rc::new(gpu::Gpu::new(index as usize)?))
}

/// Every program that can be compiled: its source, its defines and the kernels in it. What the offline test compiles.
pub fn variants() -> Vec<(&'static nvrtc::Source, String, Vec<String>)> {
    let families = [
        chain::variants,
        conv::variants,
        copies::variants,
        creation::variants,
        index::variants,
        linalg::variants,
        loss::variants,
        moments::variants,
        norm::variants,
        optim::variants,
        pointwise::variants,
        pool::variants,
        reduce::variants,
        softmax::variants,
        sort::variants,
    ];
    families.iter().flat_map(|f| f()).collect()
}

/// The GPUs of this machine; none where the driver is missing or has none. Opens nothing.
pub fn devices() -> Vec<wick_core::device::Properties> {
    context::devices().unwrap_or_default()
}
