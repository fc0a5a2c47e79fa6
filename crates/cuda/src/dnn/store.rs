//! Plans on disk, one file each: a line that says what the file is, the problem, the text's SHA-256, then the text.
use crate::nvrtc::{self, hex};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const HEADER: &str = "wick convolution plan 1";

fn path(dir: &Path, key: &str) -> PathBuf {
    dir.join("cudnn").join(format!("{}.plan", hex(&Sha256::digest(key)[..16])))
}

/// The text kept under a key, if it is there and whole.
pub fn load(dir: &Path, key: &str) -> Option<Vec<u8>> {
    let file = std::fs::read(path(dir, key)).ok()?;
    let mut parts = file.splitn(4, |b| *b == b'\n');
    let (header, problem, hash, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = header == HEADER.as_bytes() && problem == key.as_bytes() && hash == hex(&Sha256::digest(text)).as_bytes();
    whole.then(|| text.to_vec())
}

/// Keeps a text under a key, which is one line; readers see all of it or nothing.
pub fn save(dir: &Path, key: &str, text: &[u8]) -> std::io::Result<()> {
    let head = format!("{HEADER}\n{key}\n{}\n", hex(&Sha256::digest(text)));
    nvrtc::store(&path(dir, key), &[head.as_bytes(), text].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_ignored() {
        let dir = std::env::temp_dir().join(format!("wick-plans-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (key, text) = ("device 9.10 Problem { .. }", b"{\n\"a\": 1\n}".as_slice());
        assert!(load(&dir, key).is_none());
        save(&dir, key, text).unwrap();
        assert_eq!(load(&dir, key).as_deref(), Some(text));
        assert!(load(&dir, "another").is_none());
        let file = path(&dir, key);
        let good = std::fs::read(&file).unwrap();
        for damaged in [&good[..good.len() - 1], &good[..20], b"", &[&good[..good.len() - 2], b"xx"].concat()] {
            std::fs::write(&file, damaged).unwrap();
            assert!(load(&dir, key).is_none());
        }
        // Another problem of the same name.
        save(&dir, "another", text).unwrap();
        std::fs::copy(path(&dir, "another"), &file).unwrap();
        assert!(load(&dir, key).is_none());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
