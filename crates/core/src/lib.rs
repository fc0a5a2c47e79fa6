//! wick-core: tensors, autograd, plans and CPU kernels of wick. No napi, no CUDA.
pub mod cpu;
pub mod dtype;
pub mod error;
pub mod op;
pub mod shape;
