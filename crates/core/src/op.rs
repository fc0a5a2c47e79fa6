//! The op: what is to be computed, with its attributes. Shapes and derivatives stand in `ops/<family>.rs`, kernels in
//! `cpu/<family>.rs`, under the same names.
use crate::device::Device;
use crate::dtype::DType;
use crate::shape::Shape;
use std::rc::Rc;

/// A scalar that a kernel takes as data. In a plan it is a parameter of the entry that the user called: `source` names it.
/// A vjp hands an `Sc` on and cannot compute with it, so no plan can hold a number derived from an old value.
#[derive(Clone, Copy, Debug)]
pub struct Sc {
    value: f64,
    source: u32,
}
const OWN: u32 = u32::MAX;
impl Sc {
    pub fn new(value: f64) -> Sc {
        Sc { value, source: OWN }
    }
    /// The number for a kernel: from the plan's parameters if there are any.
    #[inline]
    pub fn get(&self, params: &[f64]) -> f64 {
        if self.source == OWN || params.is_empty() { self.value } else { params[self.source as usize] }
    }
    pub(crate) fn recorded(&self) -> f64 {
        self.value
    }
    /// Its number among a plan's parameters.
    pub fn source(&self) -> Option<usize> {
        (self.source != OWN).then_some(self.source as usize)
    }
    /// Makes it a plan's parameter number `source`.
    pub fn bind(&mut self, source: usize) {
        self.source = source as u32;
    }
}
impl PartialEq for Sc {
    fn eq(&self, o: &Sc) -> bool {
        self.source == o.source && (self.source != OWN || self.value.to_bits() == o.value.to_bits())
    }
}

/// Pointwise functions of one tensor. Floats only, but `Neg Abs Sign` (also ints) and the logical ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Unary {
    Neg,
    Abs,
    Sign,
    Sqrt,
    Rsqrt,
    Exp,
    Log,
    Log1p,
    Expm1,
    Sin,
    Cos,
    Tanh,
    Sigmoid,
    Erf,
    Floor,
    Ceil,
    Round,
    Reciprocal,
    Relu,
    /// Bool results.
    LogicalNot,
    IsNan,
    IsInf,
    IsFinite,
}
impl Unary {
    pub const ALL: [Unary; 23] = {
        use Unary::*;
        [
            Neg, Abs, Sign, Sqrt, Rsqrt, Exp, Log, Log1p, Expm1, Sin, Cos, Tanh, Sigmoid, Erf, Floor, Ceil, Round, Reciprocal, Relu, LogicalNot,
            IsNan, IsInf, IsFinite,
        ]
    };
    pub fn is_predicate(self) -> bool {
        matches!(self, Unary::LogicalNot | Unary::IsNan | Unary::IsInf | Unary::IsFinite)
    }
}

/// Pointwise functions of two tensors of one dtype, broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Minimum,
    Maximum,
    /// Python's sign rule: the result has the divisor's sign.
    Remainder,
    /// `grad` where the second operand is above 0, else 0: the derivative of relu by its result.
    ReluGrad,
    /// Bool results.
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    LogicalAnd,
    LogicalOr,
    LogicalXor,
}
impl Binary {
    pub const ALL: [Binary; 18] = {
        use Binary::*;
        [Add, Sub, Mul, Div, Pow, Minimum, Maximum, Remainder, ReluGrad, Eq, Ne, Lt, Le, Gt, Ge, LogicalAnd, LogicalOr, LogicalXor]
    };
    pub fn is_predicate(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge | LogicalAnd | LogicalOr | LogicalXor)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ReduceKind {
    Sum,
    Mean,
    Prod,
    Amax,
    Amin,
    /// int64 results; of equal elements the first. One dimension, or all.
    Argmax,
    Argmin,
    /// Bool results.
    Any,
    All,
}
impl ReduceKind {
    pub const ALL: [ReduceKind; 9] = {
        use ReduceKind::*;
        [Sum, Mean, Prod, Amax, Amin, Argmax, Argmin, Any, All]
    };
}

/// A set of dimensions, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Dims(pub u8);
impl Dims {
    pub fn all(rank: usize) -> Dims {
        Dims(((1u16 << rank) - 1) as u8)
    }
    pub fn of(dims: &[usize]) -> Dims {
        Dims(dims.iter().fold(0, |m, d| m | 1 << d))
    }
    pub fn has(self, dim: usize) -> bool {
        self.0 >> dim & 1 == 1
    }
}

/// The same memory under another layout.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum View {
    Reshape(Shape),
    Permute(Perm),
    Expand(Shape),
    Narrow {
        dim: usize,
        start: usize,
        len: usize,
        step: usize,
    },
    Select {
        dim: usize,
        index: usize,
    },
    /// Cut from the tape.
    Detach,
}
/// Dimension `i` of the result is dimension `perm[i]` of the input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Perm {
    pub rank: u8,
    pub dims: [u8; crate::shape::MAX_RANK],
}
impl Perm {
    pub fn new(dims: &[usize]) -> Perm {
        let mut p = Perm { rank: dims.len() as u8, dims: [0; crate::shape::MAX_RANK] };
        for (d, s) in p.dims.iter_mut().zip(dims) {
            *d = *s as u8;
        }
        p
    }
    pub fn as_slice(&self) -> &[u8] {
        &self.dims[..self.rank as usize]
    }
    pub fn inverse(&self) -> Perm {
        let mut p = *self;
        for (i, d) in self.as_slice().iter().enumerate() {
            p.dims[*d as usize] = i as u8;
        }
        p
    }
    pub fn swap(rank: usize, a: usize, b: usize) -> Perm {
        let mut v: Vec<usize> = (0..rank).collect();
        v.swap(a, b);
        Perm::new(&v)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Random {
    /// Uniform in [0, 1).
    Uniform,
    /// Standard normal (Box-Muller).
    Normal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Reduction {
    None,
    Mean,
    Sum,
}

/// Geometry of a 2-d convolution, [height, width] each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Conv2d {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}
/// Geometry of a 2-d pooling window, [height, width] each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Pool2d {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub ceil: bool,
}

/// How a fused [`Op::BatchNormGrad`] knows where the relu on top was above 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NormMask {
    /// There was none.
    None,
    /// By computing the norm's result again, from its input and bias.
    Input,
    /// By the relu's result.
    Result,
}

/// A stretch of a flat buffer, in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub start: usize,
    pub len: usize,
}
pub type Ranges = Rc<[Range]>;

/// What is to be computed. Operands are listed as `(inputs) -> outputs`; `~x` is written in place.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    // creation
    /// `() -> x`: data that came from JavaScript; has no kernel.
    FromHost {
        shape: Shape,
        dtype: DType,
        device: Device,
    },
    Fill {
        shape: Shape,
        dtype: DType,
        device: Device,
        value: Sc,
    },
    /// `() -> start, start + step, ...`
    Arange {
        len: usize,
        dtype: DType,
        device: Device,
        start: Sc,
        step: Sc,
    },
    /// `() -> x`, Philox4x32-10 keyed by `seed`, counter `offset` + element / 4.
    Random {
        shape: Shape,
        dtype: DType,
        device: Device,
        kind: Random,
        seed: Sc,
        offset: Sc,
    },

    // pointwise
    Unary(Unary),
    Binary(Binary),
    /// `(x) -> op(x, value)`, or `op(value, x)` if reversed; the value is cast to x's dtype.
    Scalar {
        op: Binary,
        value: Sc,
        reversed: bool,
    },
    /// `(x) -> min(max(x, low), high)`; an infinite bound is none. NaN stays.
    Clamp {
        low: Sc,
        high: Sc,
    },
    /// `(condition bool, a, b) -> a where condition, else b`, broadcast.
    Where,
    Cast(DType),
    /// `(x) -> x, row-major`.
    Contiguous,
    /// `(x) -> x on another device`.
    ToDevice(Device),
    /// `(x) -> x * keep / (1 - p)`; keep is drawn by element as in `Random`, so the backward pass needs no mask.
    Dropout {
        p: Sc,
        seed: Sc,
        offset: Sc,
    },

    // views
    View(View),

    // reduction
    Reduce {
        kind: ReduceKind,
        dims: Dims,
        keepdim: bool,
    },
    /// `(x) -> softmax or its log over the last dimension`.
    Softmax {
        log: bool,
    },
    /// `(x) -> running sum`, along `dim`.
    Cumsum {
        dim: usize,
    },
    /// `(x) -> values, indices int64`, along the last dimension, stable.
    Sort {
        descending: bool,
    },

    // linear algebra
    /// `(a [.., m, k], b [.., k, n], y [m, n]?) -> [.., m, n]`: equal rank, leading dimensions broadcast; any strides. If a plan fused
    /// a relu's derivative with a product of two matrices (`mask`), the result is 0 where y, the relu's result, isn't above 0.
    Matmul {
        mask: bool,
    },
    /// `(x [.., k], weight [n, k], bias [n]?) -> [.., n]`, with relu on top if a plan fused it.
    Linear {
        bias: bool,
        relu: bool,
    },

    // indexing
    /// `(x, index int64) -> out[i][j] = x[index[i][j]][j]` along `dim`.
    Gather {
        dim: usize,
    },
    /// `(x, index int64, src) -> x with src added at index` along `dim`.
    ScatterAdd {
        dim: usize,
    },
    /// `(x, index int64 [n]) -> rows of dimension `dim``.
    IndexSelect {
        dim: usize,
    },
    /// `(x, index int64 [n], src) -> x with src's rows added`.
    IndexAdd {
        dim: usize,
    },
    /// `(a, b, ..) -> joined along `dim``, any number of inputs.
    Cat {
        dim: usize,
    },
    /// `(grad) -> zeros of shape with grad in the narrowed part`: the derivative of narrow.
    NarrowGrad {
        shape: Shape,
        dim: usize,
        start: usize,
        step: usize,
    },

    // convolution and its relatives; NCHW
    /// `(x [n, c, h, w], weight [o, c / groups, kh, kw], bias [o]?) -> [n, o, h', w']`.
    Conv2d {
        geometry: Conv2d,
        bias: bool,
    },
    /// `(grad, weight) -> grad of x`, whose shape is given.
    Conv2dGradInput {
        geometry: Conv2d,
        shape: Shape,
    },
    /// `(grad, x) -> grad of weight`, whose shape is given.
    Conv2dGradWeight {
        geometry: Conv2d,
        shape: Shape,
    },
    /// `(x) -> y, indices int64` into the plane h * w, the first of equals; NaN wins.
    MaxPool2d(Pool2d),
    /// `(grad, indices) -> grad of x`, whose shape is given.
    MaxPool2dGrad {
        geometry: Pool2d,
        shape: Shape,
    },
    /// `(x) -> y`, zero padding counted in the mean (PyTorch's default).
    AvgPool2d(Pool2d),
    AvgPool2dGrad {
        geometry: Pool2d,
        shape: Shape,
    },
    /// Training mode, over all dimensions but 1: `(x, weight [c]?, bias [c]?, ~running_mean, ~running_var) -> y, mean [c], invstd [c]`.
    /// Running statistics may be absent (`stats`); the variance they get is the unbiased one. A plan may fuse what follows: a
    /// last input of x's shape is added (`add`), then `relu`.
    BatchNorm {
        eps: Sc,
        momentum: Sc,
        affine: bool,
        stats: bool,
        add: bool,
        relu: bool,
    },
    /// `(grad, x, weight?, mean, invstd, bias?, y?, grad2?) -> grad x, grad weight, grad bias, masked grad?`. Without the last
    /// inputs and output, unless a plan fused what comes before: two gradients are added (`sum`), a relu's derivative is taken
    /// (`mask`, which asks for bias or y), and that gradient is a result too (`keep`).
    BatchNormGrad {
        affine: bool,
        mask: NormMask,
        sum: bool,
        keep: bool,
    },

    // loss
    /// `(logits [n, c], target int64 [n]) -> loss (scalar, or [n] without reduction), log-sum-exp [n], grad of logits?`. The last
    /// one, for a loss whose gradient is 1, if a plan fused that (`grad`).
    CrossEntropy {
        ignore_index: i64,
        smoothing: Sc,
        reduction: Reduction,
        grad: bool,
    },
    /// `(grad of loss, logits, target, log-sum-exp) -> grad of logits`.
    CrossEntropyGrad {
        ignore_index: i64,
        smoothing: Sc,
        reduction: Reduction,
    },
    /// `(~tracker float64 [4], loss)`: adds loss * weight to [0], weight to [1], sets [2] to 1 if loss is not finite, puts loss in [3].
    TrackLoss {
        weight: Sc,
    },

    // in place on the first input
    /// `(~x, src)`: broadcast and cast.
    CopyInto,
    BinaryInto(Binary),
    ScalarInto {
        op: Binary,
        value: Sc,
    },

    // optimisers over flat buffers. A last input `skip` (float64 scalar, `skip: true`) that isn't 0 makes the op do nothing.
    /// `(~grad, ..) -> norm` before clipping (L2, over all inputs' ranges).
    ClipGradNorm {
        ranges: Rc<[Ranges]>,
        max: Sc,
    },
    ClipGradValue {
        ranges: Rc<[Ranges]>,
        max: Sc,
    },
    /// `(~grad, .., scale float32) -> found, float64`: divides the ranges by the scale; found is 1 if any gradient is not finite.
    Unscale {
        ranges: Rc<[Ranges]>,
    },
    /// `(~scale float32, ~tracker int32, found float64)`: PyTorch's rule for the next loss scale.
    UpdateScale {
        growth: Sc,
        backoff: Sc,
        interval: Sc,
    },
    /// `(~param, grad, ~momentum, skip?)`. `fresh`: the momentum buffer takes the gradient undampened, PyTorch's first step.
    Sgd {
        ranges: Ranges,
        lr: Sc,
        momentum: Sc,
        dampening: Sc,
        weight_decay: Sc,
        nesterov: bool,
        maximize: bool,
        fresh: bool,
        skip: bool,
    },
    /// `(~param, grad, ~exp_avg, ~exp_avg_sq, skip?)`. `step` counts from 1.
    AdamW {
        ranges: Ranges,
        lr: Sc,
        beta1: Sc,
        beta2: Sc,
        eps: Sc,
        weight_decay: Sc,
        step: Sc,
        maximize: bool,
        skip: bool,
    },

    // entries of a recording without a kernel
    Backward {
        retain: bool,
    },
    ZeroGrad {
        group: usize,
    },
    HostRead,
}

/// Most scalars that an op has.
pub const MAX_SCALARS: usize = 6;

impl Op {
    pub fn scalars_mut(&mut self) -> Vec<&mut Sc> {
        use Op::*;
        match self {
            Fill { value, .. } | Scalar { value, .. } | ScalarInto { value, .. } => vec![value],
            Arange { start, step, .. } => vec![start, step],
            Random { seed, offset, .. } => vec![seed, offset],
            Clamp { low, high } => vec![low, high],
            Dropout { p, seed, offset } => vec![p, seed, offset],
            BatchNorm { eps, momentum, .. } => vec![eps, momentum],
            CrossEntropy { smoothing, .. } | CrossEntropyGrad { smoothing, .. } => vec![smoothing],
            TrackLoss { weight } => vec![weight],
            ClipGradNorm { max, .. } | ClipGradValue { max, .. } => vec![max],
            UpdateScale { growth, backoff, interval } => vec![growth, backoff, interval],
            Sgd { lr, momentum, dampening, weight_decay, .. } => vec![lr, momentum, dampening, weight_decay],
            AdamW { lr, beta1, beta2, eps, weight_decay, step, .. } => vec![lr, beta1, beta2, eps, weight_decay, step],
            _ => vec![],
        }
    }
    /// Inputs that the kernel writes, as a bit set.
    pub fn writes(&self) -> u32 {
        use Op::*;
        match self {
            CopyInto | BinaryInto(_) | ScalarInto { .. } | TrackLoss { .. } => 1,
            BatchNorm { affine, stats: true, .. } => {
                if *affine {
                    0b11000
                } else {
                    0b110
                }
            }
            ClipGradNorm { ranges, .. } | ClipGradValue { ranges, .. } | Unscale { ranges } => ((1u64 << ranges.len()) - 1) as u32,
            UpdateScale { .. } => 0b11,
            Sgd { .. } => 0b101,
            AdamW { .. } => 0b1101,
            _ => 0,
        }
    }
    /// The device of the results, if it is not that of the inputs.
    pub fn device(&self) -> Option<Device> {
        match self {
            Op::FromHost { device, .. } | Op::Fill { device, .. } | Op::Arange { device, .. } | Op::Random { device, .. } => Some(*device),
            Op::ToDevice(device) => Some(*device),
            _ => None,
        }
    }
    pub fn is_view(&self) -> bool {
        matches!(self, Op::View(_))
    }
    /// Values of the operands may be refused: indices, class numbers, integer divisors and exponents. `dtype` is the first one's.
    pub fn can_fail(&self, dtype: DType) -> bool {
        use Binary::{Pow, Remainder};
        match self {
            Op::Gather { .. } | Op::ScatterAdd { .. } | Op::IndexSelect { .. } | Op::IndexAdd { .. } => true,
            Op::CrossEntropy { .. } | Op::ToDevice(_) => true,
            Op::Binary(Remainder) | Op::BinaryInto(Remainder) => !dtype.is_float(),
            Op::Scalar { op, .. } | Op::ScalarInto { op, .. } => matches!(op, Pow | Remainder) && !dtype.is_float(),
            _ => false,
        }
    }
    /// The operand whose values may be refused.
    pub fn checked_operand(&self) -> Option<usize> {
        match self {
            Op::Gather { .. } | Op::ScatterAdd { .. } | Op::IndexSelect { .. } | Op::IndexAdd { .. } => Some(1),
            Op::CrossEntropy { .. } | Op::Binary(Binary::Remainder) | Op::BinaryInto(Binary::Remainder) => Some(1),
            Op::Scalar { op: Binary::Remainder, reversed: true, .. } => Some(0),
            _ => None,
        }
    }
    pub fn has_kernel(&self) -> bool {
        !matches!(self, Op::View(_) | Op::FromHost { .. } | Op::Backward { .. } | Op::ZeroGrad { .. } | Op::HostRead)
    }
    /// The name in every layer, in JavaScript's spelling.
    pub fn name(&self) -> &'static str {
        use Op::*;
        match self {
            FromHost { .. } => "tensor",
            Fill { .. } => "full",
            Arange { .. } => "arange",
            Random { kind: self::Random::Uniform, .. } => "rand",
            Random { kind: self::Random::Normal, .. } => "randn",
            Unary(u) => u.name(),
            Binary(b) | Scalar { op: b, .. } => b.name(),
            Clamp { .. } => "clamp",
            Where => "where",
            Cast(_) => "to",
            Contiguous => "contiguous",
            ToDevice(_) => "toDevice",
            Dropout { .. } => "dropout",
            View(v) => match v {
                self::View::Reshape(_) => "reshape",
                self::View::Permute(_) => "permute",
                self::View::Expand(_) => "expand",
                self::View::Narrow { .. } => "narrow",
                self::View::Select { .. } => "select",
                self::View::Detach => "detach",
            },
            Reduce { kind, .. } => kind.name(),
            Softmax { log: false } => "softmax",
            Softmax { log: true } => "logSoftmax",
            Cumsum { .. } => "cumsum",
            Sort { .. } => "sort",
            Matmul { .. } => "matmul",
            Linear { .. } => "linear",
            Gather { .. } => "gather",
            ScatterAdd { .. } => "scatterAdd",
            IndexSelect { .. } => "indexSelect",
            IndexAdd { .. } => "indexAdd",
            Cat { .. } => "cat",
            NarrowGrad { .. } => "narrowGrad",
            Conv2d { .. } => "conv2d",
            Conv2dGradInput { .. } => "conv2dGradInput",
            Conv2dGradWeight { .. } => "conv2dGradWeight",
            MaxPool2d(_) => "maxPool2d",
            MaxPool2dGrad { .. } => "maxPool2dGrad",
            AvgPool2d(_) => "avgPool2d",
            AvgPool2dGrad { .. } => "avgPool2dGrad",
            BatchNorm { .. } => "batchNorm",
            BatchNormGrad { .. } => "batchNormGrad",
            CrossEntropy { .. } => "crossEntropy",
            CrossEntropyGrad { .. } => "crossEntropyGrad",
            TrackLoss { .. } => "trackLoss",
            CopyInto => "copy_",
            BinaryInto(b) | ScalarInto { op: b, .. } => match b {
                self::Binary::Add => "add_",
                self::Binary::Sub => "sub_",
                self::Binary::Mul => "mul_",
                self::Binary::Div => "div_",
                other => other.name(),
            },
            ClipGradNorm { .. } => "clipGradNorm",
            ClipGradValue { .. } => "clipGradValue",
            Unscale { .. } => "unscale",
            UpdateScale { .. } => "updateScale",
            Sgd { .. } => "sgd",
            AdamW { .. } => "adamw",
            Backward { .. } => "backward",
            ZeroGrad { .. } => "zeroGrad",
            HostRead => "item",
        }
    }
}
impl Unary {
    pub fn name(self) -> &'static str {
        use Unary::*;
        match self {
            Neg => "neg",
            Abs => "abs",
            Sign => "sign",
            Sqrt => "sqrt",
            Rsqrt => "rsqrt",
            Exp => "exp",
            Log => "log",
            Log1p => "log1p",
            Expm1 => "expm1",
            Sin => "sin",
            Cos => "cos",
            Tanh => "tanh",
            Sigmoid => "sigmoid",
            Erf => "erf",
            Floor => "floor",
            Ceil => "ceil",
            Round => "round",
            Reciprocal => "reciprocal",
            Relu => "relu",
            LogicalNot => "logicalNot",
            IsNan => "isnan",
            IsInf => "isinf",
            IsFinite => "isfinite",
        }
    }
}
impl Binary {
    pub fn name(self) -> &'static str {
        use Binary::*;
        match self {
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Div => "div",
            Pow => "pow",
            Minimum => "minimum",
            Maximum => "maximum",
            Remainder => "remainder",
            ReluGrad => "reluGrad",
            Eq => "eq",
            Ne => "ne",
            Lt => "lt",
            Le => "le",
            Gt => "gt",
            Ge => "ge",
            LogicalAnd => "logicalAnd",
            LogicalOr => "logicalOr",
            LogicalXor => "logicalXor",
        }
    }
}
impl ReduceKind {
    pub fn name(self) -> &'static str {
        use ReduceKind::*;
        match self {
            Sum => "sum",
            Mean => "mean",
            Prod => "prod",
            Amax => "amax",
            Amin => "amin",
            Argmax => "argmax",
            Argmin => "argmin",
            Any => "any",
            All => "all",
        }
    }
}

/// The names of every op, each once: what the tests of coverage walk. A variant of [`Op`] that is missing here doesn't compile.
pub fn registry() -> Vec<&'static str> {
    use Op::*;
    macro_rules! names {
        ($($variant:pat => $names:expr,)*) => {{
            fn _exhaustive(op: &Op) {
                match op { $($variant => (),)* }
            }
            [$($names.to_vec()),*].concat()
        }};
    }
    let mut names = names! {
        FromHost { .. } => ["tensor"],
        Fill { .. } => ["full"],
        Arange { .. } => ["arange"],
        Random { .. } => ["rand", "randn"],
        Unary(_) => self::Unary::ALL.map(self::Unary::name),
        Binary(_) | Scalar { .. } => self::Binary::ALL.map(self::Binary::name),
        Clamp { .. } => ["clamp"],
        Where => ["where"],
        Cast(_) => ["to"],
        Contiguous => ["contiguous"],
        ToDevice(_) => ["toDevice"],
        Dropout { .. } => ["dropout"],
        View(self::View::Reshape(_) | self::View::Permute(_) | self::View::Expand(_) | self::View::Narrow { .. } | self::View::Select { .. } | self::View::Detach)
            => ["reshape", "permute", "expand", "narrow", "select", "detach"],
        Reduce { .. } => ReduceKind::ALL.map(ReduceKind::name),
        Softmax { .. } => ["softmax", "logSoftmax"],
        Cumsum { .. } => ["cumsum"],
        Sort { .. } => ["sort"],
        Matmul { .. } => ["matmul"],
        Linear { .. } => ["linear"],
        Gather { .. } => ["gather"],
        ScatterAdd { .. } => ["scatterAdd"],
        IndexSelect { .. } => ["indexSelect"],
        IndexAdd { .. } => ["indexAdd"],
        Cat { .. } => ["cat"],
        NarrowGrad { .. } => ["narrowGrad"],
        Conv2d { .. } => ["conv2d"],
        Conv2dGradInput { .. } => ["conv2dGradInput"],
        Conv2dGradWeight { .. } => ["conv2dGradWeight"],
        MaxPool2d(_) => ["maxPool2d"],
        MaxPool2dGrad { .. } => ["maxPool2dGrad"],
        AvgPool2d(_) => ["avgPool2d"],
        AvgPool2dGrad { .. } => ["avgPool2dGrad"],
        BatchNorm { .. } => ["batchNorm"],
        BatchNormGrad { .. } => ["batchNormGrad"],
        CrossEntropy { .. } => ["crossEntropy"],
        CrossEntropyGrad { .. } => ["crossEntropyGrad"],
        TrackLoss { .. } => ["trackLoss"],
        CopyInto => ["copy_"],
        BinaryInto(_) | ScalarInto { .. } => ["add_", "sub_", "mul_", "div_"],
        ClipGradNorm { .. } => ["clipGradNorm"],
        ClipGradValue { .. } => ["clipGradValue"],
        Unscale { .. } => ["unscale"],
        UpdateScale { .. } => ["updateScale"],
        Sgd { .. } => ["sgd"],
        AdamW { .. } => ["adamw"],
        Backward { .. } => ["backward"],
        ZeroGrad { .. } => ["zeroGrad"],
        HostRead => ["item"],
    };
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
}
