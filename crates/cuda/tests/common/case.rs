//! What a family's GPU tests are made of. In `tests/cases/<family>.rs`:
//!
//! ```ignore
//! use crate::case::{Case, Input, Lay, Values};
//! pub fn cases() -> Vec<Case> {
//!     vec![
//!         Case::new("add transposed", Op::Binary(Binary::Add), vec![
//!             Input::new(&[33, 65], DType::F32).lay(Lay::Transposed),
//!             Input::new(&[65], DType::F32), // broadcast, as the engine does
//!         ]),
//!         Case::new("embedding", Op::IndexSelect { dim: 0 }, vec![
//!             Input::new(&[100, 64], DType::BF16),
//!             Input::new(&[17], DType::I64).values(Values::Index(100)),
//!         ]),
//!     ]
//! }
//! ```
//!
//! Every case runs on the GPU and is compared with `wick_core::cpu::run` in float64 on the same values (floats within the
//! dtype's tolerance, everything else exactly). Results are poisoned before each run, memory around every operand is watched,
//! inputs that the op writes are compared too. Then the case is captured and replayed twice, with its scalars in device memory,
//! and the bits must be those of the eager run. A chain must also have the bits of its ops run one by one.
use wick_core::cpu::chain;
use wick_core::dtype::DType;
use wick_core::op::Op;

/// One op, or chain, on certain operands.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub work: Work,
    pub inputs: Vec<Input>,
    /// How results lie: `Contiguous`, `Offset`, or `ChannelsLast` (those of rank 4; the others are row-major).
    pub outputs: Lay,
    /// The dtype's tolerance times this.
    pub tolerance: f64,
    pub reference: Reference,
    /// Also captured and replayed.
    pub graph: bool,
    pub tf32: bool,
    pub deterministic: bool,
}

#[derive(Clone)]
pub enum Work {
    Op(Op),
    /// Steps, and the numbers of those whose results are wanted.
    Chain(Vec<chain::Step>, Vec<usize>),
}

/// What the GPU's results are compared with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reference {
    /// The CPU in float64, whatever the case's floats are.
    Wide,
    /// The CPU in the case's own dtypes, within the tolerance: for ops with fixed dtypes, or whose results depend on them.
    Same,
    /// The CPU in the case's own dtypes, bit for bit.
    Exact,
}

/// An operand: `shape` is what the op sees, `lay` how it lies in memory.
#[derive(Clone)]
pub struct Input {
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub lay: Lay,
    pub values: Values,
}

/// How an operand lies in memory. Where a rank is too low for it, it is `Contiguous`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lay {
    Contiguous,
    /// The last two dimensions swapped.
    Transposed,
    /// Row-major from one element into its memory: not aligned for vectors.
    Offset,
    /// Channels innermost: dimension 1 of 3 or more.
    ChannelsLast,
    /// Dimension 0 repeats (stride 0).
    Expanded,
    /// Every second element of the last dimension.
    Strided,
}

/// Where values come from: a generator seeded by the case's name and the operand's number.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// Standard normal; small integers from -4 to 4 for integer dtypes, 0 or 1 for bools.
    Normal,
    /// In [0, 1); likewise.
    Uniform,
    /// In [low, high).
    Between(f64, f64),
    /// Whole numbers from low to high, both included.
    Integers(i64, i64),
    Bool,
    /// Whole numbers from 0 to below this.
    Index(usize),
    /// A random order of 0, 1, ..: no two are equal.
    Permutation,
    /// Row-major; repeated if there are more elements.
    Given(Vec<f64>),
}

impl Case {
    /// Sums by atomics, as cuDNN's fastest convolution gradients have them: bits differ from run to run.
    pub fn any_order(&self) -> bool {
        let gradient = matches!(self.work, Work::Op(Op::Conv2dGradInput { .. } | Op::Conv2dGradWeight { .. }));
        gradient && !self.deterministic
    }
    pub fn new(name: impl Into<String>, op: Op, inputs: Vec<Input>) -> Case {
        // Their CPU kernels know float32 scales only.
        let reference = if matches!(op, Op::Unscale { .. } | Op::UpdateScale { .. }) { Reference::Same } else { Reference::Wide };
        Case::of(name.into(), Work::Op(op), inputs, reference)
    }
    pub fn chain(name: impl Into<String>, steps: Vec<chain::Step>, outputs: Vec<usize>, inputs: Vec<Input>) -> Case {
        Case::of(name.into(), Work::Chain(steps, outputs), inputs, Reference::Wide)
    }
    fn of(name: String, work: Work, inputs: Vec<Input>, reference: Reference) -> Case {
        Case { name, work, inputs, outputs: Lay::Contiguous, tolerance: 1.0, reference, graph: true, tf32: false, deterministic: false }
    }
    /// How results lie.
    pub fn outputs(mut self, lay: Lay) -> Case {
        self.outputs = lay;
        self
    }
    /// Allows this many times the dtype's tolerance.
    pub fn tolerance(mut self, factor: f64) -> Case {
        self.tolerance = factor;
        self
    }
    /// Compares with the CPU in the case's own dtypes instead of float64.
    pub fn same_dtype(mut self) -> Case {
        self.reference = Reference::Same;
        self
    }
    /// The CPU's bits in the case's own dtypes.
    pub fn exact(mut self) -> Case {
        self.reference = Reference::Exact;
        self
    }
    /// Isn't captured.
    pub fn no_graph(mut self) -> Case {
        self.graph = false;
        self
    }
    /// Runs with the device's TF32 switch on.
    pub fn tf32(mut self) -> Case {
        self.tf32 = true;
        self
    }
    /// Runs with the device's deterministic switch on.
    pub fn deterministic(mut self) -> Case {
        self.deterministic = true;
        self
    }
}

impl Input {
    /// Row-major and of `Values::Normal`.
    pub fn new(shape: &[usize], dtype: DType) -> Input {
        Input { shape: shape.to_vec(), dtype, lay: Lay::Contiguous, values: Values::Normal }
    }
    pub fn lay(mut self, lay: Lay) -> Input {
        self.lay = lay;
        self
    }
    pub fn values(mut self, values: Values) -> Input {
        self.values = values;
        self
    }
}

/// How far results of a dtype may lie from the reference: relative L2 error of a whole tensor. The one place that says so.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 1e-5,
        DType::F16 => 2e-3,
        DType::BF16 => 1e-2,
        _ => 0.0,
    }
}
