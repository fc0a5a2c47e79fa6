//! A convolution as a cuDNN graph of one operation, and the plans for it.
use super::descriptor::{Descriptor, Target, check};
use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type, cudnnBackendDescriptorType_t as Descriptors,
    cudnnBackendHeurMode_t as Heuristic, cudnnBackendNumericalNote_t as Note, cudnnConvolutionMode_t, cudnnDataType_t as DataType,
};
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};

/// Which of a convolution's three products is computed from the two others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Forward,
    GradInput,
    GradWeight,
}

/// One convolution as cuDNN gets it; sizes are [n, c, h, w]. All operands lie channels-last, or all row-major.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub dtype: DType,
    pub x: [usize; 4],
    pub weight: [usize; 4],
    pub y: [usize; 4],
    pub channels_last: bool,
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    /// float32 products may round their operands to TF32.
    pub tf32: bool,
    pub deterministic: bool,
}

impl Problem {
    fn sizes(&self) -> [[usize; 4]; 3] {
        [self.x, self.weight, self.y]
    }

    /// Working memory that a plan may ask for while others ask for less: engines that change the layout of an operand need
    /// room for it.
    fn workspace(&self) -> usize {
        let bytes: usize = self.sizes().iter().map(|s| s.iter().product::<usize>() * self.dtype.size()).sum();
        (2 * bytes).max(256 << 20)
    }

    /// An engine with these numerical notes may compute it.
    fn allows(&self, notes: &[u32]) -> bool {
        let has = |note: Note| notes.contains(&(note as u32));
        // Inputs that are rounded first, and sums in less than float, are never what was asked for.
        let exact = !has(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) && !has(Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
        // Tensor cores take float32 as TF32.
        let rounds = self.dtype == DType::F32 && !self.tf32 && has(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
        let varies = self.deterministic && has(Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
        exact && !rounds && !varies
    }
}

/// The ids of x, weight and y in a graph.
const IDS: [i64; 3] = [1, 2, 3];
/// Every pointer that a plan gets is a multiple of this.
pub const ALIGNMENT: u64 = 16;

fn tensor(problem: &Problem, id: i64, sizes: &[usize; 4], data: DataType) -> Result<Descriptor> {
    let [n, c, h, w] = sizes.map(|s| s as i64);
    let strides = if problem.channels_last { [h * w * c, 1, w * c, c] } else { [c * h * w, h * w, w, 1] };
    Descriptor::new(Descriptors::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .set(Attribute::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[data])?
        .set(Attribute::CUDNN_ATTR_TENSOR_DIMENSIONS, Type::CUDNN_TYPE_INT64, &[n, c, h, w])?
        .set(Attribute::CUDNN_ATTR_TENSOR_STRIDES, Type::CUDNN_TYPE_INT64, &strides)?
        .set(Attribute::CUDNN_ATTR_TENSOR_UNIQUE_ID, Type::CUDNN_TYPE_INT64, &[id])?
        .set(Attribute::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, Type::CUDNN_TYPE_INT64, &[ALIGNMENT as i64])?
        .finalize()
}

/// The operation of a kind, and its attributes for x, weight, y, the geometry, alpha and beta.
fn operation(kind: Kind) -> (Descriptors, [Attribute; 6]) {
    use Attribute::*;
    match kind {
        Kind::Forward => (
            Descriptors::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Kind::GradInput => (
            Descriptors::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Kind::GradWeight => (
            Descriptors::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// An operation graph; what it is made of lives as long as it.
pub struct Graph {
    raw: Descriptor,
    _operation: Descriptor,
    _convolution: Descriptor,
    _tensors: Vec<Descriptor>,
}

impl Graph {
    /// The graph of a problem; `Code::NotSupported` for a dtype that has no convolution.
    pub fn new(problem: &Problem, target: &Target) -> Result<Graph> {
        let (data, compute) = match problem.dtype {
            DType::F16 => (DataType::CUDNN_DATA_HALF, DataType::CUDNN_DATA_FLOAT),
            DType::BF16 => (DataType::CUDNN_DATA_BFLOAT16, DataType::CUDNN_DATA_FLOAT),
            DType::F32 => (DataType::CUDNN_DATA_FLOAT, DataType::CUDNN_DATA_FLOAT),
            DType::F64 => (DataType::CUDNN_DATA_DOUBLE, DataType::CUDNN_DATA_DOUBLE),
            other => return Err(Error::not_supported(format!("no convolution of {}", other.name()))),
        };
        let pair = |v: [usize; 2]| v.map(|v| v as i64);
        let convolution = Descriptor::new(Descriptors::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[compute])?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, &[cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION])?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, Type::CUDNN_TYPE_INT64, &[2i64])?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Type::CUDNN_TYPE_INT64, &pair(problem.padding))?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Type::CUDNN_TYPE_INT64, &pair(problem.padding))?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Type::CUDNN_TYPE_INT64, &pair(problem.stride))?
            .set(Attribute::CUDNN_ATTR_CONVOLUTION_DILATIONS, Type::CUDNN_TYPE_INT64, &pair(problem.dilation))?
            .finalize()?;
        let tensors = IDS.iter().zip(&problem.sizes()).map(|(id, sizes)| tensor(problem, *id, sizes, data)).collect::<Result<Vec<_>>>()?;
        let (kind, [x, weight, y, geometry, alpha, beta]) = operation(problem.kind);
        let operation = Descriptor::new(kind)?
            .set_descriptor(x, &tensors[0])?
            .set_descriptor(weight, &tensors[1])?
            .set_descriptor(y, &tensors[2])?
            .set_descriptor(geometry, &convolution)?;
        let operation = if problem.dtype == DType::F64 {
            operation.set(alpha, Type::CUDNN_TYPE_DOUBLE, &[1f64])?.set(beta, Type::CUDNN_TYPE_DOUBLE, &[0f64])?
        } else {
            operation.set(alpha, Type::CUDNN_TYPE_FLOAT, &[1f32])?.set(beta, Type::CUDNN_TYPE_FLOAT, &[0f32])?
        };
        let operation = operation.finalize()?;
        let raw = Descriptor::new(Descriptors::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
            .set_descriptor(Attribute::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?;
        let raw = match target {
            Target::Handle(handle) => raw.set(Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[*handle])?,
            Target::Properties(_) => raw,
        };
        Ok(Graph { raw: raw.finalize()?, _operation: operation, _convolution: convolution, _tensors: tensors })
    }

    /// Engine configurations that a heuristic proposes, best first.
    fn configurations(&self, target: &Target, mode: Heuristic) -> Result<Vec<Descriptor>> {
        let heuristic = Descriptor::new(Descriptors::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
            .set_descriptor(Attribute::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &self.raw)?
            .set(Attribute::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[mode])?;
        let heuristic = match target {
            Target::Handle(_) => heuristic,
            Target::Properties(p) => heuristic.set_descriptor(Attribute::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, p)?,
        };
        let heuristic = heuristic.finalize()?;
        let (results, kind) = (Attribute::CUDNN_ATTR_ENGINEHEUR_RESULTS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR);
        let count = heuristic.get::<sys::cudnnBackendDescriptor_t>(results, kind, &mut [])?;
        let mut found = (0..count).map(|_| Descriptor::new(Descriptors::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).collect::<Result<Vec<_>>>()?;
        if count > 0 {
            let mut raw: Vec<_> = found.iter().map(Descriptor::raw).collect();
            found.truncate(heuristic.get(results, kind, &mut raw)?);
        }
        Ok(found)
    }

    /// Up to `most` plans for a problem, the likeliest to be fast first; `Code::NotSupported` if no engine can compute it.
    pub fn plans(&self, problem: &Problem, target: &Target, most: usize) -> Result<Vec<Plan>> {
        let limit = problem.workspace();
        let (mut found, mut large, mut why) = (Vec::new(), None::<Plan>, None);
        for mode in [Heuristic::CUDNN_HEUR_MODE_A, Heuristic::CUDNN_HEUR_MODE_B, Heuristic::CUDNN_HEUR_MODE_FALLBACK] {
            let configurations = self.configurations(target, mode).unwrap_or_else(|e| {
                why = Some(e);
                vec![]
            });
            for configuration in configurations {
                let plan = notes(&configuration).and_then(
                    |notes| {
                        if problem.allows(&notes) { Plan::new(target, configuration).map(Some) } else { Ok(None) }
                    },
                );
                match plan {
                    Ok(Some(plan)) if plan.workspace <= limit => found.push(plan),
                    Ok(Some(plan)) if large.as_ref().is_none_or(|l| plan.workspace < l.workspace) => large = Some(plan),
                    Ok(_) => {}
                    Err(e) => why = Some(e),
                }
                if found.len() == most {
                    return Ok(found);
                }
            }
            // The next heuristic largely repeats this one: it is asked where little was found.
            if 2 * found.len() >= most {
                return Ok(found);
            }
        }
        if found.is_empty() {
            found.extend(large);
        }
        match why {
            _ if !found.is_empty() => Ok(found),
            Some(e) => Err(Error::not_supported(format!("cuDNN has no engine for this convolution ({})", e.message))),
            None => Err(Error::not_supported("cuDNN has no engine for this convolution")),
        }
    }
}

/// Numerical notes of a configuration's engine, as numbers: a newer cuDNN may know more than are named here.
fn notes(configuration: &Descriptor) -> Result<Vec<u32>> {
    let engine = Descriptor::new(Descriptors::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    configuration.get(Attribute::CUDNN_ATTR_ENGINECFG_ENGINE, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut [engine.raw()])?;
    let mut notes = [0u32; 32];
    let count = engine.get(Attribute::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE, &mut notes)?;
    Ok(notes[..count.min(notes.len())].to_vec())
}

/// An engine that is ready to compute one problem.
pub struct Plan {
    raw: Descriptor,
    _configuration: Option<Descriptor>,
    /// Bytes of working memory.
    pub workspace: usize,
}

impl Plan {
    fn new(target: &Target, configuration: Descriptor) -> Result<Plan> {
        let raw = Descriptor::new(Descriptors::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set_descriptor(Attribute::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &configuration)?;
        let raw = match target {
            Target::Handle(handle) => raw.set(Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[*handle])?,
            Target::Properties(p) => raw.set_descriptor(Attribute::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, p)?,
        };
        Plan::finished(raw.finalize()?, Some(configuration))
    }

    /// A plan that [`Plan::json`] wrote for the same device and version.
    pub fn from_json(handle: sys::cudnnHandle_t, json: &[u8]) -> Result<Plan> {
        let raw = Descriptor::new(Descriptors::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set(Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[handle])?
            .set(Attribute::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, Type::CUDNN_TYPE_CHAR, json)?;
        Plan::finished(raw.finalize()?, None)
    }

    fn finished(raw: Descriptor, configuration: Option<Descriptor>) -> Result<Plan> {
        let workspace = raw.get_number(Attribute::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Plan { raw, _configuration: configuration, workspace: workspace.max(0) as usize })
    }

    /// The plan as text, kernels included: making it from that skips the heuristic.
    pub fn json(&self) -> Result<Vec<u8>> {
        let (attribute, kind) = (Attribute::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, Type::CUDNN_TYPE_CHAR);
        let mut text = vec![0u8; self.raw.get::<u8>(attribute, kind, &mut [])?];
        let length = self.raw.get(attribute, kind, &mut text)?;
        text.truncate(length);
        Ok(text)
    }

    /// Runs on the handle's stream. `pointers` are x, weight and y; may be captured.
    pub(super) fn run(&self, handle: sys::cudnnHandle_t, pointers: [u64; 3], workspace: u64) -> Result<()> {
        let pack = Descriptor::new(Descriptors::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .set(Attribute::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, Type::CUDNN_TYPE_VOID_PTR, &pointers)?
            .set(Attribute::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, Type::CUDNN_TYPE_INT64, &IDS)?
            .set(Attribute::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, Type::CUDNN_TYPE_VOID_PTR, &[workspace])?
            .finalize()?;
        check(unsafe { sys::cudnnBackendExecute(handle, self.raw.raw(), pack.raw()) }, "to run a plan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float32_stays_float32() {
        let mut problem = Problem {
            kind: Kind::GradWeight,
            dtype: DType::F32,
            x: [1, 8, 4, 4],
            weight: [8, 8, 1, 1],
            y: [1, 8, 4, 4],
            channels_last: true,
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            tf32: false,
            deterministic: false,
        };
        let (tensor_core, nondeterministic) = (Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE as u32, Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as u32);
        assert!(problem.allows(&[]) && !problem.allows(&[tensor_core]) && problem.allows(&[nondeterministic]));
        problem.tf32 = true;
        assert!(problem.allows(&[tensor_core]));
        (problem.dtype, problem.tf32, problem.deterministic) = (DType::BF16, false, true);
        assert!(problem.allows(&[tensor_core]) && !problem.allows(&[nondeterministic]));
        assert!(!problem.allows(&[Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION as u32]));
    }
}
