//! Constants, ranges and random numbers.
use crate::case::{Case, Lay};
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::op::{Op, Random, Sc};
use wick_core::shape::Shape;

const DEVICE: Device = Device::Cuda(0);

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL {
        for (shape, value) in [(&[][..], 2.5), (&[77], 0.0), (&[5, 6, 7], -1.0), (&[0, 4], 1.0), (&[4096], 1e10)] {
            let op = Op::Fill { shape: Shape::new(shape), dtype, device: DEVICE, value: Sc::new(value) };
            for out in [Lay::Contiguous, Lay::Offset] {
                all.push(Case::new(format!("fill {value} {shape:?} {dtype:?} {out:?}"), op.clone(), vec![]).outputs(out).exact());
            }
        }
        for (len, start, step) in [(0, 0.0, 1.0), (1, 5.0, 2.0), (1000, -3.0, 2.0), (257, 0.1, 0.3), (64, 1e9, -7.0)] {
            let op = Op::Arange { len, dtype, device: DEVICE, start: Sc::new(start), step: Sc::new(step) };
            for out in [Lay::Contiguous, Lay::Offset] {
                all.push(Case::new(format!("arange {len} {start} {step} {dtype:?} {out:?}"), op.clone(), vec![]).outputs(out).exact());
            }
        }
    }
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        for kind in [Random::Uniform, Random::Normal] {
            for (shape, seed, offset) in
                [(&[1][..], 0.0, 0.0), (&[5003], 3.0, 5.0), (&[2, 5, 3, 4], -1.0, 4294967295.0), (&[3, 8, 2, 6], 1e15, 1e12), (&[0], 1.0, 1.0)]
            {
                for out in [Lay::Contiguous, Lay::Offset, Lay::ChannelsLast] {
                    let op = Op::Random { shape: Shape::new(shape), dtype, device: DEVICE, kind, seed: Sc::new(seed), offset: Sc::new(offset) };
                    let case = Case::new(format!("random {kind:?} {shape:?} {seed} {dtype:?} {out:?}"), op, vec![]).outputs(out);
                    // The logarithm and the angle's functions round in their own ways.
                    all.push(if kind == Random::Uniform { case.exact() } else { case.same_dtype() });
                }
            }
        }
    }
    all
}
