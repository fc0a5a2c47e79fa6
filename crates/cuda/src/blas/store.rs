//! What was measured, on disk: a line for each product, a file for each device and version of the library.
use super::Choice;
use crate::gpu::Gpu;
use crate::nvrtc;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use wick_core::device::Backend;

pub struct Store {
    path: PathBuf,
    header: String,
    known: RefCell<BTreeMap<String, Choice>>,
}

impl Store {
    pub fn open(gpu: &Gpu, version: usize) -> Store {
        let properties = gpu.properties();
        let (device, count) = (&properties.name, properties.multiprocessors);
        Store::at(gpu.cache_dir().join("products"), format!("wick products 1, {device} with {count} multiprocessors, cuBLASLt {version}"))
    }

    /// The file in `dir` that is named after the header.
    fn at(dir: PathBuf, header: String) -> Store {
        let path = dir.join(format!("{}.txt", checksum(&header)));
        let known = RefCell::new(read(&path, &header));
        Store { path, header, known }
    }

    pub fn get(&self, name: &str) -> Option<Choice> {
        self.known.borrow().get(name).copied()
    }

    /// Keeps a choice, beside what other processes have written meanwhile. If two write at once one loses what is new in it, and measures
    /// again some day; failing to write costs no more than that.
    pub fn put(&self, name: &str, choice: Choice) {
        let mut known = self.known.borrow_mut();
        for (other, c) in read(&self.path, &self.header) {
            known.entry(other).or_insert(c);
        }
        known.insert(name.to_string(), choice);
        let mut text = format!("{}\n", self.header);
        for (name, choice) in known.iter() {
            let line = format!("{name} {}", print(choice));
            text += &format!("{line} {}\n", checksum(&line));
        }
        let _ = nvrtc::store(&self.path, text.as_bytes());
    }
}

fn print(choice: &Choice) -> String {
    match choice {
        Choice::Small(tile) => format!("small {tile}"),
        Choice::Library(words) => words.iter().fold("library".to_string(), |all, w| all + &format!(" {w:x}")),
    }
}

fn parse(line: &str) -> Option<(String, Choice)> {
    let (line, sum) = line.rsplit_once(' ')?;
    if sum != checksum(line) {
        return None;
    }
    let mut words = line.split(' ');
    let (name, kind) = (words.next()?, words.next()?);
    let choice = match kind {
        "small" => Choice::Small(words.next()?.parse().ok()?),
        "library" => {
            let all: Vec<u64> = words.map(|w| u64::from_str_radix(w, 16).ok()).collect::<Option<_>>()?;
            Choice::Library(all.try_into().ok()?)
        }
        _ => return None,
    };
    Some((name.to_string(), choice))
}

/// The whole lines of a file with this header; of any other file nothing.
fn read(path: &PathBuf, header: &str) -> BTreeMap<String, Choice> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return BTreeMap::new();
    }
    lines.filter_map(parse).collect()
}

/// The beginning of the SHA-256.
fn checksum(text: &str) -> String {
    nvrtc::hex(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: Choice = Choice::Library([1, 0, u64::MAX, 7, 8, 9, 10, 11]);

    #[test]
    fn kept_and_shared() {
        let dir = std::env::temp_dir().join(format!("wick-products-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let open = |header: &str| Store::at(dir.clone(), header.into());
        let (a, b) = (open("one"), open("one"));
        a.put("x", LIBRARY);
        b.put("y", Choice::Small(16));
        let again = open("one");
        assert_eq!((again.get("x"), again.get("y"), again.get("z")), (Some(LIBRARY), Some(Choice::Small(16)), None));
        assert_eq!(open("two").get("x"), None);

        // A line that isn't whole is measured again, the others stay; so does a file of another device.
        let text = fs::read_to_string(&a.path).unwrap();
        fs::write(&a.path, text.replace("small 16", "small 32")).unwrap();
        assert_eq!((open("one").get("x"), open("one").get("y")), (Some(LIBRARY), None));
        fs::write(&a.path, &text[..text.len() - 5]).unwrap();
        assert_eq!((open("one").get("x"), open("one").get("y")), (Some(LIBRARY), None));
        fs::write(&a.path, text.replacen("one", "two", 1)).unwrap();
        assert_eq!(open("one").get("x"), None);
        fs::write(&a.path, [0xff, 0, 10]).unwrap();
        assert_eq!(open("one").get("x"), None);
        open("one").put("x", Choice::Small(8));
        assert_eq!(open("one").get("x"), Some(Choice::Small(8)));
        let _ = fs::remove_dir_all(&dir);
    }
}
