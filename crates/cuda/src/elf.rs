//! The smallest shared object that there is: a name, and the name of the library that it needs.

/// A shared object for this machine whose SONAME is `soname` and which needs `needed`; it holds nothing else.
pub fn shim(soname: &str, needed: &str) -> Vec<u8> {
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    const SEGMENTS: usize = 3;
    /// x86-64, AArch64.
    const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    const DT: [u64; 7] =
        [14 /* SONAME */, 1 /* NEEDED */, 5 /* STRTAB */, 6 /* SYMTAB */, 10 /* STRSZ */, 11 /* SYMENT */, 0];
    const SYMBOL: usize = 24;

    // Header, segments, dynamic section, the one empty symbol that every table begins with, strings.
    let dynamic = HEADER + SEGMENTS * SEGMENT;
    let symbols = dynamic + DT.len() * 16;
    let strings = symbols + SYMBOL;
    let text = format!("\0{soname}\0{needed}\0");
    let end = strings + text.len();

    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let u16s = |out: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    let u64s = |out: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    u16s(&mut out, &[3 /* shared object */, MACHINE, 1, 0 /* version 1 */]);
    u64s(&mut out, &[0 /* entry */, HEADER as u64, 0 /* no sections */]);
    u16s(&mut out, &[0, 0 /* flags */, HEADER as u16, SEGMENT as u16, SEGMENTS as u16, 64, 0, 0]);
    let mut segment = |kind: u64, flags: u64, at: usize, size: usize, align: u64| {
        u64s(&mut out, &[kind | flags << 32, at as u64, at as u64, at as u64, size as u64, size as u64, align]);
    };
    const READ_WRITE: u64 = 6;
    segment(1 /* LOAD */, READ_WRITE, 0, end, 0x10000);
    segment(2 /* DYNAMIC */, READ_WRITE, dynamic, DT.len() * 16, 8);
    // Without this one the loader would want an executable stack.
    segment(0x6474_e551 /* GNU_STACK */, READ_WRITE, 0, 0, 16);
    let values = [1, 2 + soname.len(), strings, symbols, text.len(), SYMBOL, 0];
    for (tag, value) in DT.into_iter().zip(values) {
        u64s(&mut out, &[tag, value as u64]);
    }
    out.resize(strings, 0);
    out.extend(text.as_bytes());
    out
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

    /// The loader takes it, knows it by its name, and finds symbols through it.
    #[test]
    fn loads() {
        let path = std::env::temp_dir().join(format!("wick-shim-{}.so", std::process::id()));
        std::fs::write(&path, shim("libwick-shim-test.so", "libc.so.6")).unwrap();
        let opened = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        std::fs::remove_file(&path).unwrap();
        let library = opened.unwrap();
        let by_name = unsafe { Library::open(Some("libwick-shim-test.so"), RTLD_NOW | RTLD_LOCAL) }.unwrap();
        for l in [&library, &by_name] {
            let getpid = unsafe { l.get::<unsafe extern "C" fn() -> i32>(b"getpid") }.unwrap();
            assert_eq!(unsafe { getpid() }, std::process::id() as i32);
        }
        assert!(unsafe { library.get::<unsafe extern "C" fn()>(b"no_such_symbol") }.is_err());
    }
}
