//! What every op is, but its kernels: shape inference (`infer`), what a backward pass needs (`saves`) and the derivative
//! (`vjp`), one file a family. A vjp is made of ops, so it is dispatched, recorded and differentiated like any other.
mod conv;
mod creation;
mod index;
mod linalg;
mod loss;
mod norm;
mod optim;
mod pointwise;
mod pool;
mod reduce;
pub mod view;

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::*;
use crate::shape::{Layout, Shape};
use crate::tensor::{Meta, Tensor};

/// What `vjp` dispatches through.
pub trait Vjp {
    fn run(&mut self, op: Op, ins: &[&Tensor]) -> Result<Vec<Tensor>>;
    /// The result will be differentiated again: fused derivatives that have none of their own must be spelled out.
    fn create_graph(&self) -> bool;
    /// Where the derivative is computed.
    fn device(&self) -> Device;
}

/// The small vocabulary that derivatives are written in.
impl dyn Vjp + '_ {
    fn one(&mut self, op: Op, ins: &[&Tensor]) -> Result<Tensor> {
        self.run(op, ins)?.pop().ok_or_else(|| Error::internal("an op without a result in a derivative"))
    }
    fn unary(&mut self, u: Unary, x: &Tensor) -> Result<Tensor> {
        self.one(Op::Unary(u), &[x])
    }
    fn binary(&mut self, b: Binary, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.one(Op::Binary(b), &[x, y])
    }
    fn mul(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.binary(Binary::Mul, x, y)
    }
    fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.binary(Binary::Add, x, y)
    }
    fn sub(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.binary(Binary::Sub, x, y)
    }
    fn div(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.binary(Binary::Div, x, y)
    }
    fn neg(&mut self, x: &Tensor) -> Result<Tensor> {
        self.unary(Unary::Neg, x)
    }
    fn scalar(&mut self, op: Binary, x: &Tensor, value: Sc) -> Result<Tensor> {
        self.one(Op::Scalar { op, value, reversed: false }, &[x])
    }
    fn scale(&mut self, x: &Tensor, by: f64) -> Result<Tensor> {
        self.scalar(Binary::Mul, x, Sc::new(by))
    }
    /// `value - x`
    fn rsub(&mut self, value: f64, x: &Tensor) -> Result<Tensor> {
        self.one(Op::Scalar { op: Binary::Sub, value: Sc::new(value), reversed: true }, &[x])
    }
    fn cast(&mut self, x: &Tensor, dtype: DType) -> Result<Tensor> {
        if x.dtype == dtype { Ok(x.clone()) } else { self.one(Op::Cast(dtype), &[x]) }
    }
    fn full(&mut self, shape: Shape, dtype: DType, value: f64) -> Result<Tensor> {
        self.fill(shape, dtype, Sc::new(value))
    }
    fn fill(&mut self, shape: Shape, dtype: DType, value: Sc) -> Result<Tensor> {
        let device = self.device();
        self.one(Op::Fill { shape, dtype, device, value }, &[])
    }
    /// `x` where `mask`, else 0.
    fn masked(&mut self, mask: &Tensor, x: &Tensor) -> Result<Tensor> {
        let zero = self.full(Shape::scalar(), x.dtype, 0.0)?;
        self.one(Op::Where, &[mask, x, &zero])
    }
    fn view(&mut self, v: View, x: &Tensor) -> Result<Tensor> {
        self.one(Op::View(v), &[x])
    }
    fn reshape(&mut self, x: &Tensor, shape: Shape) -> Result<Tensor> {
        if x.shape() == shape { Ok(x.clone()) } else { self.view(View::Reshape(shape), x) }
    }
    fn expand(&mut self, x: &Tensor, shape: Shape) -> Result<Tensor> {
        if x.shape() == shape { Ok(x.clone()) } else { self.view(View::Expand(shape), x) }
    }
    fn transpose(&mut self, x: &Tensor) -> Result<Tensor> {
        let r = x.layout.rank();
        self.view(View::Permute(Perm::swap(r, r - 2, r - 1)), x)
    }
    fn sum(&mut self, x: &Tensor, dims: Dims, keepdim: bool) -> Result<Tensor> {
        self.one(Op::Reduce { kind: ReduceKind::Sum, dims, keepdim }, &[x])
    }
    /// Undoes a broadcast: sums `x` to `shape`.
    fn sum_to(&mut self, x: &Tensor, shape: Shape) -> Result<Tensor> {
        if x.shape() == shape {
            return Ok(x.clone());
        }
        let lead = x.layout.rank() - shape.rank();
        let dims: Vec<usize> = (0..x.layout.rank()).filter(|d| *d < lead || (shape[*d - lead] == 1 && x.shape()[*d] != 1)).collect();
        let s = if dims.is_empty() { x.clone() } else { self.sum(x, Dims::of(&dims), true)? };
        self.reshape(&s, shape)
    }
    /// A reduced result, with its dimensions back as size 1.
    fn unreduced(&mut self, x: &Tensor, dims: Dims, of: &Shape) -> Result<Tensor> {
        let shape: Vec<usize> = of.iter().enumerate().map(|(d, n)| if dims.has(d) { 1 } else { *n }).collect();
        self.reshape(x, Shape::new(&shape))
    }
}

/// What a vjp gets to see of the forward pass.
pub struct Context<'a> {
    pub ins: &'a [Option<Tensor>],
    pub outs: &'a [Option<Tensor>],
    pub metas: &'a [Meta],
    /// Which inputs want a gradient.
    pub needs: &'a [bool],
    /// Where the inputs were.
    pub device: Device,
}
impl Context<'_> {
    fn x(&self, i: usize) -> Result<&Tensor> {
        self.ins[i].as_ref().ok_or_else(|| Error::internal("an input that wasn't saved"))
    }
    fn y(&self, i: usize) -> Result<&Tensor> {
        self.outs[i].as_ref().ok_or_else(|| Error::internal("an output that wasn't saved"))
    }
    fn shape(&self, i: usize) -> Shape {
        self.metas[i].shape
    }
}

type Grads = Result<Vec<Option<Tensor>>>;

macro_rules! family {
    ($op:expr, $f:ident ( $($a:expr),* )) => {
        match $op {
            Op::FromHost { .. } | Op::Fill { .. } | Op::Arange { .. } | Op::Random { .. } => creation::$f($($a),*),
            Op::Unary(_) | Op::Binary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Where | Op::Cast(_) | Op::Contiguous | Op::ToDevice(_) | Op::Dropout { .. }
            | Op::CopyInto | Op::BinaryInto(_) | Op::ScalarInto { .. } => pointwise::$f($($a),*),
            Op::View(_) => view::$f($($a),*),
            Op::Reduce { .. } | Op::Softmax { .. } | Op::Cumsum { .. } | Op::Sort { .. } => reduce::$f($($a),*),
            Op::Matmul { .. } | Op::Linear { .. } => linalg::$f($($a),*),
            Op::Gather { .. } | Op::ScatterAdd { .. } | Op::IndexSelect { .. } | Op::IndexAdd { .. } | Op::Cat { .. } | Op::NarrowGrad { .. } => index::$f($($a),*),
            Op::Conv2d { .. } | Op::Conv2dGradInput { .. } | Op::Conv2dGradWeight { .. } => conv::$f($($a),*),
            Op::MaxPool2d(_) | Op::MaxPool2dGrad { .. } | Op::AvgPool2d(_) | Op::AvgPool2dGrad { .. } => pool::$f($($a),*),
            Op::BatchNorm { .. } | Op::BatchNormGrad { .. } => norm::$f($($a),*),
            Op::CrossEntropy { .. } | Op::CrossEntropyGrad { .. } | Op::TrackLoss { .. } => loss::$f($($a),*),
            Op::ClipGradNorm { .. } | Op::ClipGradValue { .. } | Op::Unscale { .. } | Op::UpdateScale { .. } | Op::Sgd { .. } | Op::AdamW { .. } | Op::Backward { .. } | Op::ZeroGrad { .. } | Op::HostRead => optim::$f($($a),*),
        }
    };
}

/// Shapes and dtypes of the results, or why there are none.
pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let outs = family!(op, infer(op, ins)).and_then(|outs| outs.iter().try_for_each(|m| m.shape.check()).map(|_| outs));
    outs.map_err(|e| {
        let mut e = e.in_op(op.name());
        if e.operands.is_empty() {
            e.operands = ins.iter().map(Meta::describe).collect();
        }
        e
    })
}

/// Inputs and outputs that `vjp` needs, as bit sets; `None` if the op has no derivative.
pub fn saves(op: &Op) -> Option<(u32, u32)> {
    family!(op, saves(op))
}

/// Gradients of the inputs, given those of the outputs (`None`: not used).
pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    family!(op, vjp(op, cx, s, grads))
}

/// A kernel can't work on input `i` as it lies and needs it row-major.
pub fn needs_contiguous(op: &Op, i: usize, layout: &Layout, device: Device) -> bool {
    match op {
        // images on a GPU may lie channels-last
        Op::Conv2d { .. }
        | Op::Conv2dGradInput { .. }
        | Op::Conv2dGradWeight { .. }
        | Op::BatchNorm { .. }
        | Op::BatchNormGrad { .. }
        | Op::MaxPool2d(_)
        | Op::MaxPool2dGrad { .. }
        | Op::AvgPool2d(_)
        | Op::AvgPool2dGrad { .. }
            if device != Device::Cpu && layout.is_channels_last() =>
        {
            false
        }
        Op::View(View::Reshape(shape)) => layout.reshape(shape).is_none(),
        // stride-aware kernels
        Op::Unary(_) | Op::Binary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Where | Op::Cast(_) | Op::Contiguous | Op::Dropout { .. } => false,
        Op::CopyInto | Op::BinaryInto(_) | Op::ScalarInto { .. } | Op::View(_) | Op::Reduce { .. } | Op::Matmul { .. } | Op::Cat { .. } => false,
        Op::ToDevice(_) => !layout.is_contiguous(),
        Op::TrackLoss { .. }
        | Op::ClipGradNorm { .. }
        | Op::ClipGradValue { .. }
        | Op::Unscale { .. }
        | Op::UpdateScale { .. }
        | Op::Sgd { .. }
        | Op::AdamW { .. } => false,
        // a written input can't be replaced by a copy; its statistics are made row-major
        Op::BatchNorm { .. } if op.writes() >> i & 1 == 1 => false,
        _ => !layout.is_contiguous(),
    }
}

/// How the results of an op on a GPU lie. Images are channels-last there, as its kernels like them; users never see it.
pub fn out_layout(op: &Op, ins: &[Layout], out: &Meta, number: usize) -> Layout {
    let row_major = Layout::contiguous(out.shape);
    let like = |x: Option<&Layout>| match x {
        Some(x) if x.shape == out.shape && x.is_dense() => Layout { offset: 0, ..*x },
        Some(x) if x.rank() == 4 && out.shape.rank() == 4 && x.is_channels_last() && !x.is_contiguous() => Layout::channels_last(out.shape),
        _ => row_major,
    };
    match op {
        Op::Conv2d { .. } | Op::Conv2dGradInput { .. } | Op::Conv2dGradWeight { .. } => Layout::channels_last(out.shape),
        Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::MaxPool2dGrad { .. } | Op::AvgPool2dGrad { .. } => like(ins.first()),
        Op::BatchNorm { .. } | Op::BatchNormGrad { .. } if number == 0 || number == 3 => like(ins.first()),
        Op::Unary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Cast(_) | Op::Dropout { .. } => like(ins.first()),
        Op::Binary(_) | Op::Where => like(ins.iter().find(|x| x.shape == out.shape && x.is_dense())),
        _ => row_major,
    }
}

/// Operands that the kernel wants under the result's shape (stride 0 where broadcast).
pub fn broadcasts(op: &Op) -> bool {
    matches!(op, Op::Binary(_) | Op::Where | Op::CopyInto | Op::BinaryInto(_))
}

/// A first gradient that an op with one result must have.
fn only(grads: &[Option<Tensor>]) -> Result<&Tensor> {
    grads.first().and_then(Option::as_ref).ok_or_else(|| Error::internal("a derivative without a gradient"))
}
fn want(cond: bool, what: impl FnOnce() -> Error) -> Result<()> {
    if cond { Ok(()) } else { Err(what()) }
}
fn float(m: &Meta) -> Result<()> {
    want(m.dtype.is_float(), || Error::dtype(format!("needs a floating dtype, not {}", m.dtype.name())))
}
fn same_dtype(ins: &[Meta]) -> Result<()> {
    want(ins.windows(2).all(|w| w[0].dtype == w[1].dtype), || {
        Error::dtype(format!("operands differ in dtype: {}", ins.iter().map(|m| m.dtype.name()).collect::<Vec<_>>().join(", ")))
    })
}
fn index_dtype(m: &Meta) -> Result<()> {
    want(m.dtype == DType::I64, || Error::dtype(format!("an index must be int64, not {}", m.dtype.name())))
}
fn dim_in(dim: usize, s: &Shape) -> Result<()> {
    want(dim < s.rank(), || Error::index(format!("dimension {dim} of a tensor with {} dimensions", s.rank())))
}
