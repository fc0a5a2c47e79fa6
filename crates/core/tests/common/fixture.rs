//! Reads `test/golden/*.safetensors`; the format is described in `test/golden/suite.py`.
use super::array::Array;
use super::build;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use wick_core::dtype::DType;
use wick_core::op::{Op, View};

/// The families whose cases are one op each.
pub const FAMILIES: [&str; 8] = ["pointwise", "reduce", "views", "indexing", "linalg", "conv", "loss", "inplace"];

/// Where the files are: a binary that was carried to another machine is told.
fn folder() -> PathBuf {
    std::env::var_os("WICK_GOLDEN").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/golden"), PathBuf::from)
}

/// A file's tensors and the JSON of its cases.
pub struct File {
    bytes: Vec<u8>,
    pub cases: Vec<Value>,
}

impl File {
    pub fn open(family: &str) -> File {
        let path = folder().join(format!("{family}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let golden = header.metadata().as_ref().and_then(|m| m.get("golden")).expect("no golden metadata").clone();
        let mut content: Value = serde_json::from_str(&golden).unwrap();
        let cases = std::mem::take(content["cases"].as_array_mut().unwrap());
        File { bytes, cases }
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader(SafeTensors::deserialize(&self.bytes).unwrap())
    }
}

pub struct Reader<'a>(SafeTensors<'a>);
impl Reader<'_> {
    pub fn get(&self, key: &Value) -> Array {
        let t = self.0.tensor(key.as_str().unwrap_or_else(|| panic!("{key} is no key"))).unwrap();
        let dtype = match t.dtype() {
            Dtype::BOOL => DType::Bool,
            Dtype::U8 => DType::U8,
            Dtype::I32 => DType::I32,
            Dtype::I64 => DType::I64,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            other => panic!("dtype {other:?}"),
        };
        Array { dtype, shape: t.shape().to_vec(), bytes: t.data().to_vec() }
    }
    pub fn optional(&self, key: &Value) -> Option<Array> {
        (!key.is_null()).then(|| self.get(key))
    }
}

#[derive(Clone)]
pub struct Input {
    pub base: Array,
    pub views: Vec<View>,
    pub grad: bool,
}

/// One op on certain operands and what PyTorch makes of it.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Option<Array>>,
    /// Bases after the op, by input.
    pub mutated: Vec<(usize, Array)>,
    pub upstream: Option<Array>,
    /// Gradients of the bases.
    pub grads: Vec<Option<Array>>,
    pub kinks: bool,
}

fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

impl Case {
    fn read(v: &Value, r: &Reader) -> Case {
        Case {
            name: v["name"].as_str().unwrap().to_string(),
            op: build::op(v["op"].as_str().unwrap(), &v["attrs"]),
            inputs: list(&v["inputs"])
                .iter()
                .map(|i| Input {
                    base: r.get(&i["key"]),
                    views: list(&i["view"]).iter().map(build::view).collect(),
                    grad: i["grad"].as_bool().unwrap_or(false),
                })
                .collect(),
            outputs: list(&v["outputs"]).iter().map(|k| r.optional(k)).collect(),
            mutated: list(&v["mutated"]).iter().map(|m| (m["input"].as_u64().unwrap() as usize, r.get(&m["key"]))).collect(),
            upstream: r.optional(&v["grad_out"]),
            grads: list(&v["grads"]).iter().map(|k| r.optional(k)).collect(),
            kinks: v["kinks"].as_bool().unwrap_or(false),
        }
    }

    /// The case with float64 in place of every other floating dtype; only inputs and attributes keep their meaning.
    pub fn widened(&self) -> Case {
        let mut c = self.clone();
        for i in &mut c.inputs {
            i.base = i.base.widened();
        }
        c.upstream = c.upstream.map(|u| u.widened());
        c
    }

    /// Central differences apply: there is a gradient, and no kink near the operands.
    pub fn is_smooth(&self) -> bool {
        self.upstream.is_some() && !self.kinks
    }
}

pub fn cases(family: &str) -> Vec<Case> {
    let file = File::open(family);
    let reader = file.reader();
    file.cases.iter().map(|v| Case::read(v, &reader)).collect()
}
