//! Checksums of files to be, made on a thread of the runtime's pool: one call a file, since the loop turns to finished work only now
//! and then.
use napi::bindgen_prelude::*;
use napi_derive::napi;
use sha2::{Digest, Sha256};

pub struct Checksum {
    bytes: Uint8Array,
    piece: usize,
}

impl Task for Checksum {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let mut whole = Sha256::new();
        for piece in self.bytes.chunks(self.piece) {
            whole.update(Sha256::digest(piece));
        }
        Ok(whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
    fn resolve(&mut self, _: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

/// SHA-256 of the SHA-256s of pieces of `piece` bytes, in hexadecimal digits. The bytes must not change until the promise resolves.
#[napi(catch_unwind)]
pub fn checksum(bytes: Uint8Array, piece: u32) -> AsyncTask<Checksum> {
    AsyncTask::new(Checksum { bytes, piece: piece.max(1) as usize })
}
