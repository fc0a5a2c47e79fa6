//! Every kernel on a GPU against the CPU in float64: `cargo test --release -p wick-cuda --features gpu-tests --test gpu -- [FILTER..]`.
//! A filter is a part of a case's full name, as in `pointwise: add`. One line a failure; the exit status says whether all passed.
//! With `--cpu` the CPU stands in for the GPU: a check of the cases themselves, for which no GPU is needed.
//!
//! An error that takes the device's context with it (an illegal address) ends the process, so a new one goes on behind it.
#[path = "../../core/tests/common/array.rs"]
#[allow(dead_code)]
mod array;
#[path = "../../core/tests/common/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "common/case.rs"]
mod case;
mod cases;
#[path = "common/compare.rs"]
mod compare;
#[path = "common/device.rs"]
mod device;
#[path = "../../core/tests/common/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "common/golden.rs"]
mod golden;
#[path = "../../core/tests/common/host.rs"]
mod host;
#[path = "common/operand.rs"]
mod operand;
#[path = "common/run.rs"]
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Instant;
use wick_core::device::Backend;
use wick_core::error::{Error, Result};

/// Something to check: what is wrong, if anything.
type Check = Box<dyn Fn(&dyn Backend) -> Result<Vec<String>>>;

fn all() -> Vec<(String, Check)> {
    let mut all: Vec<(String, Check)> = vec![];
    for (name, check) in device::checks() {
        all.push((format!("device: {name}"), Box::new(check)));
    }
    for (family, cases) in cases::all() {
        for case in cases {
            all.push((format!("{family}: {}", case.name), Box::new(move |b| run::check(b, &case))));
        }
    }
    for (name, case) in golden::cases() {
        all.push((format!("golden {name}"), Box::new(move |b| golden::check(b, &case))));
    }
    all
}

/// The CPU's kernels in the GPU's place, without what is about the device.
fn on_cpu(a: &Arguments) -> (Rc<dyn Backend>, Vec<(String, Check)>) {
    let chosen = chosen(a).into_iter().filter(|c| !c.0.starts_with("device: ")).collect();
    (Rc::new(host::Host::default()), chosen)
}

fn chosen(a: &Arguments) -> Vec<(String, Check)> {
    all().into_iter().filter(|c| a.filters.is_empty() || a.filters.iter().any(|f| c.0.contains(f.as_str()))).collect()
}

/// What a process that goes on behind another was given.
#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    from: usize,
    passed: usize,
    failed: usize,
    cpu: bool,
}
impl Arguments {
    fn read() -> Arguments {
        let mut a = Arguments::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            match word.as_str() {
                "--from" => a.from = number(),
                "--passed" => a.passed = number(),
                "--failed" => a.failed = number(),
                "--cpu" => a.cpu = true,
                // What `cargo test` may hand on to every test binary.
                flag if flag.starts_with('-') => {}
                _ => a.filters.push(word),
            }
        }
        a
    }
}

fn is_lost(e: &Error) -> bool {
    e.message.contains("CUDA context is lost")
}

fn main() -> ExitCode {
    if std::env::args().any(|a| a == device::LOSE_CONTEXT) {
        return device::lose_context();
    }
    let mut a = Arguments::read();
    let started = Instant::now();
    let (backend, chosen) = if a.cpu {
        on_cpu(&a)
    } else {
        match wick_cuda::open(0) {
            Ok(backend) => (backend, chosen(&a)),
            Err(e) => {
                println!("no GPU to test on: {e}");
                wick_cuda::probe().iter().for_each(|l| println!("  {l:?}"));
                return ExitCode::FAILURE;
            }
        }
    };
    for (i, (name, check)) in chosen.iter().enumerate().skip(a.from) {
        let result = catch_unwind(AssertUnwindSafe(|| check(&*backend)));
        let result = result.unwrap_or_else(|p| {
            let text = p.downcast_ref::<String>().cloned().or_else(|| p.downcast_ref::<&str>().map(|s| s.to_string()));
            Ok(vec![format!("panics: {}", text.unwrap_or_default())])
        });
        let lost = result.as_ref().err().is_some_and(is_lost);
        let problems = result.unwrap_or_else(|e| vec![format!("fails: {e}")]);
        if problems.is_empty() {
            a.passed += 1
        } else {
            a.failed += 1
        }
        if !problems.is_empty() {
            println!("FAILED {name}: {}", problems.join(" | "));
        }
        if lost {
            return go_on(&a, i + 1);
        }
    }
    println!("{} passed, {} failed ({:.1} s)", a.passed, a.failed, started.elapsed().as_secs_f64());
    if a.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The rest in a new process, which has a context of its own.
fn go_on(a: &Arguments, from: usize) -> ExitCode {
    let numbers = [("--from", from), ("--passed", a.passed), ("--failed", a.failed)];
    let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
    command.args(&a.filters).args(numbers.iter().flat_map(|(name, n)| [name.to_string(), n.to_string()]));
    let _ = command.status().map(|s| {
        if s.success() {
            println!("but a context was lost")
        }
    });
    ExitCode::FAILURE
}
