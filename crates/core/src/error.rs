//! The one error type. Every failure that a user can cause has a code that JavaScript sees.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    ShapeMismatch,
    DtypeMismatch,
    DeviceMismatch,
    IndexOutOfRange,
    OutOfMemory,
    Disposed,
    InplaceModified,
    NoGrad,
    BadOption,
    BadFile,
    /// The driver or a library of CUDA refused or failed.
    Cuda,
    NotSupported,
    /// A panic or a broken invariant inside the engine: a bug in wick.
    Internal,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::ShapeMismatch => "SHAPE_MISMATCH",
            Code::DtypeMismatch => "DTYPE_MISMATCH",
            Code::DeviceMismatch => "DEVICE_MISMATCH",
            Code::IndexOutOfRange => "INDEX_OUT_OF_RANGE",
            Code::OutOfMemory => "OUT_OF_MEMORY",
            Code::Disposed => "DISPOSED",
            Code::InplaceModified => "INPLACE_MODIFIED",
            Code::NoGrad => "NO_GRAD",
            Code::BadOption => "BAD_OPTION",
            Code::BadFile => "BAD_FILE",
            Code::Cuda => "CUDA",
            Code::NotSupported => "NOT_SUPPORTED",
            Code::Internal => "INTERNAL",
        }
    }
}

/// What went wrong, in which op, on which shapes. `message` is a whole sentence without the op's name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{message}", op.map(|o| format!("{o}: ")).unwrap_or_default())]
pub struct Error {
    pub code: Code,
    pub op: Option<&'static str>,
    pub message: String,
    /// Operands as `float32[32, 784]`, where an op failed.
    pub operands: Vec<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, op: None, message: message.into(), operands: vec![] }
    }
    pub fn shape(message: impl Into<String>) -> Error {
        Error::new(Code::ShapeMismatch, message)
    }
    pub fn dtype(message: impl Into<String>) -> Error {
        Error::new(Code::DtypeMismatch, message)
    }
    pub fn index(message: impl Into<String>) -> Error {
        Error::new(Code::IndexOutOfRange, message)
    }
    pub fn bad_option(message: impl Into<String>) -> Error {
        Error::new(Code::BadOption, message)
    }
    pub fn not_supported(message: impl Into<String>) -> Error {
        Error::new(Code::NotSupported, message)
    }
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(Code::Internal, message)
    }
    /// Names the op, if a deeper layer has not done so.
    pub fn in_op(mut self, op: &'static str) -> Error {
        self.op.get_or_insert(op);
        self
    }
}
