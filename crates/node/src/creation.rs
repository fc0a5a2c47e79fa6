//! Creation and random numbers.
use crate::ops::first;
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::error::Error;
use wick_core::op::{Op, Random, Sc};
use wick_core::shape::Shape;

#[napi(catch_unwind)]
pub fn full(shape: Vec<args::Whole>, value: f64, dtype: u32, device: u32) -> Result<f64> {
    with(|e| {
        let op = Op::Fill { shape: args::shape(&shape)?, dtype: args::dtype(dtype)?, device: Device::from_code(device)?, value: Sc::new(value) };
        first(e, op, &[])
    })
}
#[napi(catch_unwind)]
pub fn arange(len: args::Size, start: f64, step: f64, dtype: u32, device: u32) -> Result<f64> {
    with(|e| {
        let (dtype, device) = (args::dtype(dtype)?, Device::from_code(device)?);
        first(e, Op::Arange { len: len.0, dtype, device, start: Sc::new(start), step: Sc::new(step) }, &[])
    })
}
/// `kind`: 0 uniform in [0, 1), 1 standard normal.
#[napi(catch_unwind)]
pub fn random(kind: u32, shape: Vec<args::Whole>, dtype: u32, device: u32, generator: i32) -> Result<f64> {
    with(|e| {
        let kind = match kind {
            0 => Random::Uniform,
            1 => Random::Normal,
            other => return Err(Error::internal(format!("unknown random code {other}"))),
        };
        e.random(kind, args::shape(&shape)?, args::dtype(dtype)?, Device::from_code(device)?, args::generator(generator))
    })
}
#[napi(catch_unwind)]
pub fn dropout(x: f64, p: f64) -> Result<f64> {
    with(|e| e.dropout(x, p))
}
#[napi(catch_unwind)]
pub fn randperm(n: args::Size, generator: i32) -> Result<f64> {
    with(|e| {
        let order = e.permutation(n.0, args::generator(generator))?;
        let mut bytes: Vec<u8> = wick_core::reserve::vec(order.len() * 8)?;
        bytes.extend(order.iter().flat_map(|i| (*i as i64).to_ne_bytes()));
        e.from_host(&bytes, Shape::new(&[order.len()]), DType::I64, Device::Cpu)
    })
}
#[napi(catch_unwind)]
pub fn manual_seed(seed: f64) -> Result<()> {
    with(|e| {
        e.manual_seed(seed);
        Ok(())
    })
}
#[napi(catch_unwind)]
pub fn new_generator(seed: f64) -> Result<u32> {
    with(|e| Ok(e.generator(seed)))
}
/// Seed and offset; generator -1 is the global one.
#[napi(catch_unwind)]
pub fn generator_state(generator: i32) -> Result<Vec<f64>> {
    with(|e| {
        let (seed, offset) = e.generator_state(args::generator(generator))?;
        Ok(vec![seed, offset])
    })
}
#[napi(catch_unwind)]
pub fn set_generator_state(generator: i32, seed: f64, offset: f64) -> Result<()> {
    with(|e| e.set_generator_state(args::generator(generator), seed, offset))
}
