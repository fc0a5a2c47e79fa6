//! cuBLASLt: descriptors of a product, its algorithms, and running it. Everything there is column-major, so a row-major
//! `out = a b` is computed as its transpose, `out' = b' a'`, which lies the same in memory.
use super::{Choice, Mat, Product, small};
use crate::gpu::Gpu;
use crate::libs;
use cudarc::cublaslt::result::{self as raw, CublasError};
use cudarc::cublaslt::sys::{self, cublasLtEpilogue_t as Epilogue, cublasLtMatmulDescAttributes_t as Attribute};
use std::ffi::c_void;
use std::fmt;
use wick_core::dtype::DType;
use wick_core::error::{Code, Error, Result};

/// What NVIDIA recommends on Hopper.
const WORKSPACE: usize = 32 << 20;
/// Proposals that are asked for and measured.
const PROPOSALS: usize = 32;

/// An operand as cuBLASLt sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Side {
    transposed: bool,
    ld: usize,
    stride: usize,
}

/// All that decides which algorithms are possible and how fast they are. No relu: it is added to a plan's own algorithm, so that a layer
/// has the same bits with and without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    dtype: DType,
    tf32: bool,
    m: usize,
    n: usize,
    k: usize,
    batches: usize,
    a: Side,
    b: Side,
    ldo: usize,
    out_stride: usize,
    bias: bool,
    /// Bytes that the addresses of a, b and out (and bias) are multiples of, at most 16.
    align: [u8; 3],
}

impl Key {
    /// `None` if the library doesn't know such a layout.
    pub fn new(p: &Product, tf32: bool) -> Option<Key> {
        if p.bias.is_some_and(|b| b.1 != 1 && p.n > 1) {
            return None;
        }
        let batches = p.batches[1];
        let stride = |s: usize| if batches > 1 { s } else { 0 };
        let side = |x: &Mat, rows: usize, cols: usize| {
            let (transposed, ld) = leading(x, rows, cols)?;
            Some(Side { transposed, ld, stride: stride(x.batch[1]) })
        };
        // Every matrix of the batch begins at such a multiple.
        let align = |ptr: u64, batch: [usize; 2]| {
            let steps = batch.iter().zip(p.batches).filter(|(_, n)| *n > 1).fold(0, |all, (s, _)| all | (s * p.dtype.size()));
            1u8 << (ptr | steps as u64 | 16).trailing_zeros()
        };
        let out = align(p.out | p.bias.map_or(0, |b| b.0), p.out_batch);
        Some(Key {
            dtype: p.dtype,
            tf32: tf32 && p.dtype == DType::F32,
            m: p.m,
            n: p.n,
            k: p.k,
            batches,
            a: side(&p.a, p.m, p.k)?,
            b: side(&p.b, p.k, p.n)?,
            ldo: p.ldo,
            out_stride: stride(p.out_batch[1]),
            bias: p.bias.is_some(),
            align: [align(p.a.ptr, p.a.batch), align(p.b.ptr, p.b.batch), out],
        })
    }
}

/// Whether a matrix is stored by columns, and the distance of its rows (or columns); both are `None` if its elements lie otherwise.
fn leading(x: &Mat, rows: usize, cols: usize) -> Option<(bool, usize)> {
    // The stride of a single row or column says nothing.
    let by_rows = if rows > 1 { x.row } else { cols.max(1) };
    if (cols <= 1 || x.col == 1) && by_rows >= cols.max(1) {
        return Some((false, by_rows));
    }
    let by_cols = if cols > 1 { x.col } else { rows.max(1) };
    ((rows <= 1 || x.row == 1) && by_cols >= rows.max(1)).then_some((true, by_cols))
}

/// The key's name in the file of tuned products.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |s: &Side| format!("{}{}+{}", if s.transposed { "t" } else { "n" }, s.ld, s.stride);
        let (kind, [x, y, z]) = (if self.tf32 { "tf32" } else { self.dtype.name() }, self.align);
        write!(f, "{kind}:{}x{}x{}x{}:{}:{}:", self.batches, self.m, self.n, self.k, side(&self.a), side(&self.b))?;
        write!(f, "{}+{}:{}:{x},{y},{z}", self.ldo, self.out_stride, if self.bias { "bias" } else { "plain" })
    }
}

fn check<T>(result: std::result::Result<T, CublasError>) -> Result<T> {
    result.map_err(|e| Error::new(Code::Cuda, format!("cuBLASLt failed: {:?}", e.0)))
}
fn data_type(dtype: DType) -> Result<sys::cudaDataType_t> {
    use sys::cudaDataType_t::*;
    Ok(match dtype {
        DType::F16 => CUDA_R_16F,
        DType::BF16 => CUDA_R_16BF,
        DType::F32 => CUDA_R_32F,
        DType::F64 => CUDA_R_64F,
        d => return Err(Error::internal(format!("cuBLASLt has no products of {}", d.name()))),
    })
}

/// A library handle, and a workspace for each stream, since products on two streams may overlap.
pub struct Lt {
    handle: sys::cublasLtHandle_t,
    workspace: [u64; 2],
}

impl Lt {
    pub fn new(gpu: &Gpu) -> Result<Lt> {
        libs::require("cublasLt")?;
        let workspace = [gpu.reserve(WORKSPACE)?, gpu.reserve(WORKSPACE)?];
        Ok(Lt { handle: check(raw::create_handle())?, workspace })
    }
    pub fn version(&self) -> usize {
        unsafe { sys::cublasLtGetVersion() }
    }
}
impl Drop for Lt {
    fn drop(&mut self) {
        let _ = unsafe { raw::destroy_handle(self.handle) };
    }
}

/// Descriptors of a product and who computes it.
pub struct Plan {
    desc: Desc,
    /// Of b', a' and out'.
    layouts: [Layout; 3],
    bias: bool,
    double: bool,
    choice: Option<Choice>,
    /// The algorithm takes a relu too.
    takes_relu: bool,
}
struct Desc(sys::cublasLtMatmulDesc_t);
impl Drop for Desc {
    fn drop(&mut self) {
        let _ = unsafe { raw::destroy_matmul_desc(self.0) };
    }
}
struct Layout(sys::cublasLtMatrixLayout_t);
impl Drop for Layout {
    fn drop(&mut self) {
        let _ = unsafe { raw::destroy_matrix_layout(self.0) };
    }
}
struct Preference(sys::cublasLtMatmulPreference_t);
impl Drop for Preference {
    fn drop(&mut self) {
        let _ = unsafe { raw::destroy_matmul_pref(self.0) };
    }
}

impl Desc {
    fn set<T>(&self, attribute: Attribute, value: &T) -> Result<()> {
        check(unsafe { raw::set_matmul_desc_attribute(self.0, attribute, (&raw const *value).cast(), size_of::<T>()) })
    }
    fn set_epilogue(&self, bias: bool, relu: bool) -> Result<()> {
        use Epilogue::*;
        let epilogue = match (bias, relu) {
            (false, false) => CUBLASLT_EPILOGUE_DEFAULT,
            (false, true) => CUBLASLT_EPILOGUE_RELU,
            (true, false) => CUBLASLT_EPILOGUE_BIAS,
            (true, true) => CUBLASLT_EPILOGUE_RELU_BIAS,
        };
        self.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)
    }
}

impl Layout {
    /// A column-major [rows, cols], as many as the batch has.
    fn new(kind: sys::cudaDataType_t, rows: usize, cols: usize, ld: usize, batches: usize, stride: usize) -> Result<Layout> {
        use sys::cublasLtMatrixLayoutAttribute_t::{CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET};
        let layout = Layout(check(raw::create_matrix_layout(kind, rows as u64, cols as u64, ld as i64))?);
        if batches > 1 {
            let (count, offset) = (batches as i32, stride as i64);
            unsafe {
                check(raw::set_matrix_layout_attribute(layout.0, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, (&raw const count).cast(), 4))?;
                check(raw::set_matrix_layout_attribute(layout.0, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, (&raw const offset).cast(), 8))?;
            }
        }
        Ok(layout)
    }
}

impl Lt {
    /// A plan that nobody computes yet; `bias` is an address like those to come.
    pub fn prepare(&self, key: &Key, bias: u64) -> Result<Plan> {
        use sys::cublasComputeType_t::*;
        let kind = data_type(key.dtype)?;
        let (compute, scale) = match (key.dtype, key.tf32) {
            (DType::F64, _) => (CUBLAS_COMPUTE_64F, sys::cudaDataType_t::CUDA_R_64F),
            (_, true) => (CUBLAS_COMPUTE_32F_FAST_TF32, sys::cudaDataType_t::CUDA_R_32F),
            _ => (CUBLAS_COMPUTE_32F, sys::cudaDataType_t::CUDA_R_32F),
        };
        let desc = Desc(check(raw::create_matmul_desc(compute, scale))?);
        desc.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &(key.b.transposed as i32))?;
        desc.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &(key.a.transposed as i32))?;
        desc.set_epilogue(key.bias, false)?;
        if key.bias {
            desc.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        let layout = |rows, cols, ld, stride| Layout::new(kind, rows, cols, ld, key.batches, stride);
        // Row-major [r, c] is column-major [c, r]; stored by columns, it is column-major as it is.
        let operand = |s: &Side, r, c| if s.transposed { layout(r, c, s.ld, s.stride) } else { layout(c, r, s.ld, s.stride) };
        let layouts = [operand(&key.b, key.k, key.n)?, operand(&key.a, key.m, key.k)?, layout(key.n, key.m, key.ldo, key.out_stride)?];
        Ok(Plan { desc, layouts, bias: key.bias, double: key.dtype == DType::F64, choice: None, takes_relu: false })
    }

    /// The library's algorithms for a product, best first by its own estimate; none is no error.
    pub fn proposals(&self, plan: &Plan, key: &Key) -> Result<Vec<[u64; 8]>> {
        use sys::cublasLtMatmulPreferenceAttributes_t::*;
        use sys::cublasLtReductionScheme_t::*;
        let preference = Preference(check(raw::create_matmul_pref())?);
        let set = |attribute, value: *const c_void, size| check(unsafe { raw::set_matmul_pref_attribute(preference.0, attribute, value, size) });
        let workspace = WORKSPACE;
        set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const workspace).cast(), size_of::<usize>())?;
        // Parts of a 16-bit result are added in float32, never in the result's type.
        let half = key.dtype.size() == 2;
        let schemes = if half { CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE } else { CUBLASLT_REDUCTION_SCHEME_MASK } as u32;
        set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, (&raw const schemes).cast(), 4)?;
        let [a, b, out] = key.align.map(u32::from);
        let aligned = [
            (CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b),
            (CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
            (CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out),
            (CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
        ];
        aligned.iter().try_for_each(|(attribute, bytes)| set(*attribute, (&raw const *bytes).cast(), 4))?;
        let mut found: [sys::cublasLtMatmulHeuristicResult_t; PROPOSALS] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        let [la, lb, lo] = [0, 1, 2].map(|i| plan.layouts[i].0);
        // "Not supported" comes as a status and means the same as a count of 0.
        let _ = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                plan.desc.0,
                la,
                lb,
                lo,
                lo,
                preference.0,
                PROPOSALS as i32,
                found.as_mut_ptr(),
                &mut count,
            )
        };
        let good = |r: &&sys::cublasLtMatmulHeuristicResult_t| r.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && r.workspaceSize <= WORKSPACE;
        Ok(found[..count.clamp(0, PROPOSALS as i32) as usize].iter().filter(good).map(|r| r.algo.data).collect())
    }

    /// Lets `choice` compute the plan; false if it can't (a file from elsewhere may say anything).
    pub fn choose(&self, plan: &mut Plan, choice: Choice) -> bool {
        let (able, relu) = match choice {
            Choice::Small(tile) => (small::TILES.contains(&tile), true),
            Choice::Library(algorithm) => (self.accepts(plan, algorithm, false), self.accepts(plan, algorithm, true)),
        };
        if able {
            (plan.choice, plan.takes_relu) = (Some(choice), relu);
        }
        able
    }

    fn accepts(&self, plan: &Plan, algorithm: [u64; 8], relu: bool) -> bool {
        let algorithm = sys::cublasLtMatmulAlgo_t { data: algorithm };
        let [a, b, out] = [0, 1, 2].map(|i| plan.layouts[i].0);
        let mut needs: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        plan.desc.set_epilogue(plan.bias, relu).is_ok()
            && unsafe { sys::cublasLtMatmulAlgoCheck(self.handle, plan.desc.0, a, b, out, out, &algorithm, &mut needs) }.result().is_ok()
            && needs.workspaceSize <= WORKSPACE
    }

    /// Computes `p`, whose key the plan was made for.
    ///
    /// # Safety
    /// As [`super::run`].
    pub unsafe fn run(&self, gpu: &Gpu, plan: &Plan, p: &Product) -> Result<()> {
        let algorithm = match plan.choice {
            Some(Choice::Small(tile)) => return unsafe { small::run(gpu, p, tile) },
            Some(Choice::Library(data)) => sys::cublasLtMatmulAlgo_t { data },
            None => return Err(Error::internal("a product that nobody computes")),
        };
        plan.desc.set_epilogue(plan.bias, p.relu && plan.takes_relu)?;
        if let Some((bias, _)) = p.bias {
            plan.desc.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        (0..p.batches[0]).try_for_each(|i| unsafe { self.launch(gpu, plan, &p.outer(i), &algorithm) })?;
        if p.relu && !plan.takes_relu {
            small::relu(gpu, p)?;
        }
        if p.mask.is_some() { small::mask(gpu, p) } else { Ok(()) }
    }

    unsafe fn launch(&self, gpu: &Gpu, plan: &Plan, p: &Product, algorithm: &sys::cublasLtMatmulAlgo_t) -> Result<()> {
        let (one, beta) = (1f32, if p.accumulate { 1f32 } else { 0.0 });
        let (one64, beta64) = (1f64, beta as f64);
        let (alpha, beta): (*const c_void, *const c_void) =
            if plan.double { ((&raw const one64).cast(), (&raw const beta64).cast()) } else { ((&raw const one).cast(), (&raw const beta).cast()) };
        let [la, lb, lo] = [0, 1, 2].map(|i| plan.layouts[i].0);
        let (a, b, out) = (p.b.ptr as *const c_void, p.a.ptr as *const c_void, p.out as *mut c_void);
        let workspace = self.workspace[gpu.lane()] as *mut c_void;
        check(unsafe {
            raw::matmul(
                self.handle,
                plan.desc.0,
                alpha,
                beta,
                a,
                la,
                b,
                lb,
                out,
                lo,
                out,
                lo,
                algorithm,
                workspace,
                WORKSPACE,
                gpu.stream() as sys::cudaStream_t,
            )
        })
    }
}

#[cfg(test)]
mod tests;
