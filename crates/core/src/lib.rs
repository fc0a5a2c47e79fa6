//! wick-core: tensors, autograd, plans and CPU kernels of wick. No napi, no CUDA.
mod amp;
pub mod context;
pub mod cpu;
mod data;
pub mod device;
mod dispatch;
pub mod dtype;
pub mod engine;
pub mod error;
mod full;
mod io;
mod numbered;
pub mod op;
pub mod ops;
mod optim;
mod plan;
mod prefetch;
pub mod profile;
mod promote;
pub mod reserve;
mod rng;
pub mod shape;
pub mod storage;
mod tape;
pub mod tensor;
mod window;

pub use window::{Counts, Report};
