//! A step as a list of ops: recorded, compared, laid out in an arena, and run again in one go.
//!
//! `record` writes down what dispatch does; two recordings that agree make a [`Plan`] (`build`), whose passes are `fuse` and
//! `memory`; `matching` compares a running step with a plan and leaves it where they differ; `replay` launches.
mod accesses;
mod build;
mod device_run;
mod draft;
mod fuse;
mod lanes;
pub mod matching;
mod memory;
pub mod record;
mod replay;

pub use build::{Plan, Root};
