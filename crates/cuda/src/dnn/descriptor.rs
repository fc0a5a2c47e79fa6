//! cuDNN's descriptors: objects that are filled attribute by attribute and then finalised.
use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type, cudnnBackendDescriptorType_t as Descriptors, cudnnHandle_t,
    cudnnStatus_t,
};
use std::ffi::c_void;
use std::fmt::Debug;
use std::ptr::null_mut;
use wick_core::error::{Code, Error, Result};

/// An error for every status but success, with what cuDNN has to say about it.
pub fn check(status: cudnnStatus_t, what: impl Debug) -> Result<()> {
    if status == cudnnStatus_t::CUDNN_STATUS_SUCCESS { Ok(()) } else { Err(failure(status, &what)) }
}

#[cold]
fn failure(status: cudnnStatus_t, what: &dyn Debug) -> Error {
    let mut text = [0u8; 512];
    unsafe { sys::cudnnGetLastErrorString(text.as_mut_ptr().cast(), text.len()) };
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let text = String::from_utf8_lossy(&text[..end]);
    let code = if status == cudnnStatus_t::CUDNN_STATUS_ALLOC_FAILED { Code::OutOfMemory } else { Code::Cuda };
    Error::new(code, format!("cuDNN refuses {what:?}: {status:?} ({})", text.trim()))
}

/// An owned descriptor.
pub struct Descriptor(sys::cudnnBackendDescriptor_t);

impl Descriptor {
    pub fn new(kind: Descriptors) -> Result<Descriptor> {
        let mut raw = null_mut();
        check(unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut raw) }, kind)?;
        Ok(Descriptor(raw))
    }

    pub fn raw(&self) -> sys::cudnnBackendDescriptor_t {
        self.0
    }

    /// Sets an attribute; `T` must be what `kind` stands for.
    pub fn set<T: Copy>(self, attribute: Attribute, kind: Type, values: &[T]) -> Result<Descriptor> {
        let status = unsafe { sys::cudnnBackendSetAttribute(self.0, attribute, kind, values.len() as i64, values.as_ptr().cast::<c_void>()) };
        check(status, attribute)?;
        Ok(self)
    }

    pub fn set_descriptor(self, attribute: Attribute, value: &Descriptor) -> Result<Descriptor> {
        self.set(attribute, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[value.0])
    }

    pub fn finalize(self) -> Result<Descriptor> {
        check(unsafe { sys::cudnnBackendFinalize(self.0) }, "a descriptor")?;
        Ok(self)
    }

    /// Reads up to `values.len()` elements and says how many there are; descriptors to be read into must exist already.
    pub fn get<T>(&self, attribute: Attribute, kind: Type, values: &mut [T]) -> Result<usize> {
        let mut count = 0;
        // A count is asked for without an array.
        let at = if values.is_empty() { null_mut() } else { values.as_mut_ptr().cast::<c_void>() };
        check(unsafe { sys::cudnnBackendGetAttribute(self.0, attribute, kind, values.len() as i64, &mut count, at) }, attribute)?;
        Ok(count as usize)
    }

    pub fn get_number(&self, attribute: Attribute) -> Result<i64> {
        let mut value = [0i64];
        self.get(attribute, Type::CUDNN_TYPE_INT64, &mut value)?;
        Ok(value[0])
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

/// What plans are made for.
pub enum Target {
    /// The device of a handle.
    Handle(cudnnHandle_t),
    /// A device that isn't there, by its finalised properties: plans can be made, but not run.
    Properties(Descriptor),
}

impl Target {
    /// A device by its properties in JSON, as cuDNN writes them. cuDNN must have been loaded.
    pub fn offline(json: &str) -> Result<Target> {
        crate::libs::require("cudnn")?;
        let properties = Descriptor::new(Descriptors::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?
            .set(Attribute::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, Type::CUDNN_TYPE_CHAR, json.as_bytes())?
            .finalize()?;
        Ok(Target::Properties(properties))
    }
}
