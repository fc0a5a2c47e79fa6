//! Vectors whose size comes from a shape or a file. What the system refuses is an error here, where `Vec` would end the process.
//!
//! Kernels run on many threads and in closures that return nothing, so an error of theirs unwinds, without a panic's message, to
//! [`caught`].
use crate::error::{Code, Error, Result};
use crate::storage;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn exhausted(bytes: usize) -> Error {
    Error::new(Code::OutOfMemory, format!("memory is exhausted; {bytes} bytes were asked for on cpu"))
}

/// An empty vector with room for exactly `len` elements.
pub fn vec<T>(len: usize) -> Result<Vec<T>> {
    let mut v = vec![];
    if v.try_reserve_exact(len).is_err() {
        // what is kept for reuse goes first
        storage::release_cpu();
        v.try_reserve_exact(len).map_err(|_| exhausted(len.saturating_mul(size_of::<T>())))?;
    }
    Ok(v)
}

/// Room for one element more, in a table that grows with the number of tensors.
pub(crate) fn grow<T>(v: &mut Vec<T>) -> Result<()> {
    v.try_reserve(1).map_err(|_| exhausted((v.len() + 1) * size_of::<T>()))
}

/// Ends the kernel that runs with an error.
#[cold]
pub fn raise(e: Error) -> ! {
    resume_unwind(Box::new(e))
}
/// What `kernel` gives, or the error that it raised. Its results are then as uncertain as after any other error.
pub fn caught<T>(kernel: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(kernel)).unwrap_or_else(|thrown| match thrown.downcast::<Error>() {
        Ok(e) => Err(*e),
        Err(panic) => resume_unwind(panic),
    })
}

/// As [`vec`], for a kernel.
pub fn raising<T>(len: usize) -> Vec<T> {
    vec(len).unwrap_or_else(|e| raise(e))
}
/// `len` times `value`, for a kernel.
pub fn repeated<T: Clone>(value: T, len: usize) -> Vec<T> {
    let mut v = raising(len);
    v.resize(len, value);
    v
}
/// The `len` elements of `items`, for a kernel.
pub fn collected<T>(len: usize, items: impl Iterator<Item = T>) -> Vec<T> {
    let mut v = raising(len);
    v.extend(items.take(len));
    v
}
