//! Batches gathered from data in memory, on the CPU and on a device that stands in for a GPU.
mod common;

use common::array::{Array, noise};
use common::host::Host;
use std::rc::Rc;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::Engine;
use wick_core::error::{Code, Result};
use wick_core::op::{Binary, Op, Sc};
use wick_core::shape::Shape;
use wick_core::storage::usage;

const GPU: Device = Device::Cuda(0);

fn sources() -> [Array; 3] {
    let array = |shape: &[usize], dtype, salt| Array::from_f64s(dtype, shape, &noise(shape.iter().product(), salt));
    // the first one's rows are of more bytes than the stand-in's pieces
    [array(&[50, 7, 9], DType::F32, 1), array(&[50], DType::I64, 2), array(&[50, 3], DType::U8, 3)]
}
fn want(a: &Array, indices: &[u32]) -> Vec<u8> {
    let row = a.bytes.len() / a.shape[0];
    indices.iter().flat_map(|i| a.bytes[*i as usize * row..][..row].to_vec()).collect()
}

#[test]
fn rows_are_gathered_from_and_to_every_device() -> Result<()> {
    wick_core::device::set_opener(|_| Ok(Rc::new(Host::default())));
    let mut engine = Engine::new();
    let arrays = sources();
    for from in [Device::Cpu, GPU] {
        let handles = arrays.iter().map(|a| engine.from_host(&a.bytes, Shape::new(&a.shape), a.dtype, from)).collect::<Result<Vec<_>>>()?;
        for (to, home) in [(None, from), (Some(Device::Cpu), Device::Cpu), (Some(GPU), GPU)] {
            for indices in [&[][..], &[7], &[49, 0, 0, 13, 49, 25]] {
                let found = engine.gather_rows(&handles, indices, to)?;
                for (h, a) in found.iter().zip(&arrays) {
                    assert_eq!(engine.device(*h)?, home);
                    let got = Array::read(&mut engine, *h)?;
                    assert_eq!((got.shape[0], &got.shape[1..]), (indices.len(), &a.shape[1..]));
                    assert_eq!(got.bytes, want(a, indices), "{from:?} to {to:?}");
                }
            }
        }
        let outside = engine.gather_rows(&handles, &[3, 50], None).err();
        assert_eq!(outside.map(|e| e.code), Some(Code::IndexOutOfRange));
    }
    Ok(())
}

#[test]
fn sources_on_different_devices_are_gathered_in_their_order() -> Result<()> {
    wick_core::device::set_opener(|_| Ok(Rc::new(Host::default())));
    let mut engine = Engine::new();
    let arrays = sources();
    let mut handles = vec![];
    for (a, device) in arrays.iter().zip([GPU, Device::Cpu, GPU]) {
        handles.push(engine.from_host(&a.bytes, Shape::new(&a.shape), a.dtype, device)?);
    }
    for (h, a) in engine.gather_rows(&handles, &[4, 2], Some(GPU))?.into_iter().zip(&arrays) {
        assert_eq!(engine.device(h)?, GPU);
        assert_eq!(Array::read(&mut engine, h)?.bytes, want(a, &[4, 2]));
    }
    Ok(())
}

#[test]
fn a_version_changes_with_each_write() -> Result<()> {
    let mut engine = Engine::new();
    let x = Array::from_f64s(DType::F32, &[4], &[1.0; 4]).upload(&mut engine)?;
    let before = engine.version(x)?;
    assert_eq!(engine.version(x)?, before);
    engine.call(Op::ScalarInto { op: Binary::Add, value: Sc::new(1.0) }, &[x])?;
    assert_ne!(engine.version(x)?, before);
    Ok(())
}

#[test]
fn batches_asked_for_ahead_are_those_gathered_in_turn() -> Result<()> {
    let mut engine = Engine::new();
    let arrays = sources();
    let handles = arrays.iter().map(|a| a.upload(&mut engine)).collect::<Result<Vec<_>>>()?;
    let indices: Vec<u32> = (0..1000).map(|i| i * 37 % 50).collect();
    for size in [1, 8, 33, 2000] {
        let first = engine.prefetch_rows(&handles, &indices, size)?;
        assert_ne!(first, 0);
        for (number, part) in (first..).zip(indices.chunks(size)) {
            for (h, a) in engine.take_rows(number)?.into_iter().zip(&arrays) {
                assert_eq!(Array::read(&mut engine, h)?.bytes, want(a, part));
                engine.dispose(h)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_batch_asked_for_holds_what_its_source_holds_when_it_is_taken() -> Result<()> {
    let mut engine = Engine::new();
    let x = Array::from_f64s(DType::F32, &[4, 3], &noise(12, 1)).upload(&mut engine)?;
    let first = engine.prefetch_rows(&[x], &[3, 0, 1], 1)?;
    engine.call(Op::ScalarInto { op: Binary::Add, value: Sc::new(1.0) }, &[x])?;
    let now = Array::read(&mut engine, x)?;
    for (number, row) in (first..).zip([3, 0, 1]) {
        let h = engine.take_rows(number)?[0];
        assert_eq!(Array::read(&mut engine, h)?.bytes, want(&now, &[row]));
    }
    Ok(())
}

#[test]
fn batches_given_up_leave_no_memory() -> Result<()> {
    let mut engine = Engine::new();
    let x = Array::from_f64s(DType::F32, &[50, 7], &noise(350, 1)).upload(&mut engine)?;
    let before = usage(Device::Cpu).storages;
    for _ in 0..200 {
        let first = engine.prefetch_rows(&[x], &[1, 2, 3, 4], 1)?;
        let taken = engine.take_rows(first)?[0];
        engine.dispose(taken)?;
        engine.drop_rows(&[first + 1, first + 2, first + 3]);
        assert_eq!(usage(Device::Cpu).storages, before);
    }
    // what is still on its way ends with the engine
    engine.prefetch_rows(&[x], &[1, 2, 3, 4], 1)?;
    drop(engine);
    assert_eq!(usage(Device::Cpu).storages, before - 1);
    Ok(())
}

#[test]
fn what_cannot_be_had_ahead_is_left_to_its_turn() -> Result<()> {
    let mut engine = Engine::new();
    let x = Array::from_f64s(DType::F32, &[5, 7], &noise(35, 1)).upload(&mut engine)?;
    let scalar = Array::from_f64s(DType::F32, &[], &[1.0]).upload(&mut engine)?;
    assert_eq!(engine.prefetch_rows(&[x], &[0, 5], 1)?, 0);
    assert_eq!(engine.prefetch_rows(&[scalar], &[0], 1)?, 0);
    assert_eq!(engine.prefetch_rows(&[x], &[], 1)?, 0);
    assert_eq!(engine.take_rows(1).err().map(|e| e.code), Some(Code::Internal));
    Ok(())
}
