//! A pointwise op made ready to run on blocks: what eager ops and fused chains have in common, so that both give the same bits.
use super::select::{Dropout, choose, clamp};
use super::walk::Operand;
use super::{binary, cast, unary};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Binary, Op, Unary};

enum Body {
    Unary(Unary),
    Binary(Binary),
    /// `value` holds one element of the dtype.
    Scalar {
        op: Binary,
        value: u64,
        reversed: bool,
    },
    Clamp {
        low: f64,
        high: f64,
    },
    Where,
    Cast,
    Dropout(Dropout),
}

/// An op with its scalars and dtypes.
pub struct Kernel {
    body: Body,
    /// Of the inputs (of `where`'s second and third).
    dtype: DType,
    out: DType,
}

impl Kernel {
    /// `op` on inputs of these dtypes: Unary, Binary, Scalar, Clamp, Where, Cast or Dropout. Fails if there is no such kernel.
    pub fn new(op: &Op, params: &[f64], inputs: &[DType]) -> Result<Kernel> {
        let dtype = match op {
            Op::Where => inputs.get(1),
            _ => inputs.first(),
        };
        let dtype = *dtype.ok_or_else(|| Error::internal("a pointwise op without an input"))?;
        let unsupported = || Error::dtype(format!("is not defined for {}", dtype.name()));
        let (body, out) = match op {
            Op::Unary(u) if unary::supports(*u, dtype) => (Body::Unary(*u), if u.is_predicate() { DType::Bool } else { dtype }),
            Op::Binary(b) if binary::supports(*b, dtype) => (Body::Binary(*b), if b.is_predicate() { DType::Bool } else { dtype }),
            Op::Scalar { op, value, reversed } if binary::supports(*op, dtype) => {
                let value = value.get(params);
                if *op == Binary::Pow && !*reversed && value < 0.0 && !dtype.is_float() {
                    return Err(Error::bad_option("an integer can't be raised to a negative power"));
                }
                let body = Body::Scalar { op: *op, value: cast::element(value, dtype), reversed: *reversed };
                (body, if op.is_predicate() { DType::Bool } else { dtype })
            }
            Op::Clamp { low, high } if dtype != DType::Bool => (Body::Clamp { low: low.get(params), high: high.get(params) }, dtype),
            Op::Where => (Body::Where, dtype),
            Op::Cast(to) => (Body::Cast, *to),
            Op::Dropout { p, seed, offset } if dtype.is_float() => {
                (Body::Dropout(Dropout::new(p.get(params), seed.get(params), offset.get(params))), dtype)
            }
            Op::Unary(_) | Op::Binary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Dropout { .. } => return Err(unsupported()),
            _ => return Err(Error::not_supported("is not a pointwise op")),
        };
        Ok(Kernel { body, dtype, out })
    }

    /// A cast without an op.
    pub fn cast(from: DType, to: DType) -> Kernel {
        Kernel { body: Body::Cast, dtype: from, out: to }
    }

    /// Dtype of the result.
    pub fn out(&self) -> DType {
        self.out
    }

    /// Cost of one element in the units of `parallel::for_each`.
    pub fn work(&self) -> usize {
        // Measured, as tenths of a nanosecond; double precision calls the system's functions.
        let double = if self.dtype == DType::F64 { 12 } else { 1 };
        match self.body {
            Body::Unary(Unary::Exp | Unary::Sigmoid) => 4 * double,
            Body::Unary(Unary::Log | Unary::Log1p | Unary::Expm1 | Unary::Sin | Unary::Cos | Unary::Tanh | Unary::Erf) => 7 * double,
            Body::Binary(Binary::Pow) | Body::Scalar { op: Binary::Pow, .. } => 80,
            Body::Binary(Binary::Remainder) | Body::Scalar { op: Binary::Remainder, .. } => 50,
            Body::Dropout(_) => 7,
            _ => 3,
        }
    }

    /// Elements `start .. start + n` of the result; only dropout looks at `start`.
    ///
    /// # Safety
    /// The operands are valid for `n` elements of the inputs' dtypes, `out` has room for `n` of [`Kernel::out`] and overlaps none.
    pub unsafe fn run(&self, start: usize, n: usize, ins: &[Operand], out: *mut u8) -> Result<()> {
        let dtype = self.dtype;
        unsafe {
            match &self.body {
                Body::Unary(u) => unary::block(*u, dtype, ins[0], out, n),
                Body::Binary(b) => binary::block(*b, dtype, ins[0], ins[1], out, n)?,
                Body::Scalar { op, value, reversed } => {
                    let value = Operand { ptr: (value as *const u64).cast(), repeated: true };
                    let (a, b) = if *reversed { (value, ins[0]) } else { (ins[0], value) };
                    binary::block(*op, dtype, a, b, out, n)?
                }
                Body::Clamp { low, high } => clamp(dtype, *low, *high, ins[0], out, n),
                Body::Where => choose(dtype.size(), ins[0], ins[1], ins[2], out, n),
                Body::Cast => cast::block(dtype, self.out, ins[0], out, n),
                Body::Dropout(d) => d.block(dtype, start, ins[0], out, n),
            }
        }
        Ok(())
    }
}
