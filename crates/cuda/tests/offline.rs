//! Every kernel compiles, for the oldest and the newest architectures, without a GPU. NVRTC must be found: set
//! `WICK_CUDA_PATH` to a folder with libnvrtc.so.13, or to a Python `site-packages` with the package nvidia-cuda-nvrtc.
use std::collections::HashSet;
use wick_cuda::nvrtc::{compile, options, program};

const ARCHITECTURES: [(u32, u32); 3] = [(8, 0), (9, 0), (10, 0)];

fn need_nvrtc() {
    let found = wick_cuda::probe().into_iter().find(|l| l.name == "nvrtc").expect("nvrtc is a library");
    if let Some(problem) = found.problem {
        panic!("this test needs NVRTC: {problem}");
    }
    println!("{} {}", found.path.unwrap_or_default(), found.version.unwrap_or_default());
}

#[test]
fn every_variant_compiles() {
    need_nvrtc();
    let all = wick_cuda::variants();
    assert!(!all.is_empty());
    let mut seen = HashSet::new();
    let mut problems = vec![];
    for (source, defines, names) in &all {
        if !seen.insert((source.name, source.text.as_ptr(), defines)) {
            continue;
        }
        for arch in ARCHITECTURES {
            match compile(&program(source), &options(arch, defines)) {
                Err(e) => problems.push(format!("{} {defines} for {arch:?}: {e}", source.name)),
                // A cubin names its kernels in its table of strings.
                Ok(image) => problems.extend(
                    names
                        .iter()
                        .filter(|n| !image.windows(n.len() + 1).any(|w| w[..n.len()] == *n.as_bytes() && w[n.len()] == 0))
                        .map(|n| format!("{} {defines} has no kernel {n}", source.name)),
                ),
            }
        }
    }
    println!("{} programs", seen.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// A kernel that doesn't wait would read what the launch before it hasn't written yet.
#[test]
fn every_kernel_begins_with_overlap() {
    let mut sources: Vec<_> = wick_cuda::variants().into_iter().map(|v| v.0).collect();
    sources.sort_by_key(|s| s.name);
    sources.dedup_by_key(|s| s.name);
    for source in sources {
        let text = source.text.replace("#define KERNEL", "").replace("KERNEL", "__global__");
        let bodies: Vec<&str> = text.split("__global__").skip(1).filter_map(|k| k.split_once('{')).map(|k| k.1).collect();
        assert!(!bodies.is_empty(), "{} has no kernel", source.name);
        for body in bodies {
            let body = body.trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
            assert!(body.starts_with("overlap();"), "a kernel of {}.cu begins with {}", source.name, &body[..body.len().min(60)]);
        }
    }
}

#[test]
fn errors_name_the_line() {
    need_nvrtc();
    let source = wick_cuda::nvrtc::Source { name: "wrong", text: "KERNEL f() {\n  nonsense;\n}\n" };
    let error = compile(&program(&source), &options((9, 0), "")).expect_err("doesn't compile");
    assert!(error.message.contains("wrong.cu(2)"), "{error}");
}

#[test]
fn probing_never_panics() {
    for library in wick_cuda::probe() {
        assert!(library.problem.is_some() || (library.path.is_some() && library.version.is_some()), "{library:?}");
        println!("{library:?}");
    }
}

#[test]
fn a_device_that_is_missing_is_an_error() {
    if let Err(e) = wick_cuda::open(99) {
        assert!(e.message.len() > 20, "{e}");
    } else {
        panic!("there is no device 99");
    }
}
