//! Every convolution of the ResNets, and some rarer ones, gets a plan from cuDNN for an H100 that isn't there: no GPU and no
//! driver is needed, only cuDNN, which is looked for as ever (`WICK_CUDA_PATH`). Without `WICK_CUDA_PATH` there is nothing to test.
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use wick_core::dtype::DType;
use wick_cuda::dnn::{Graph, Kind, Problem, Target};

/// Set in the child process, which has the stand-in for the driver on its path.
const CHILD: &str = "WICK_DNN_OFFLINE";

/// Properties of an H100 as cuDNN writes them.
const H100: &str = r#"{"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
"multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
"reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
"maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 85520809984,
"smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "l2CacheSize": 52428800, "cudaDeviceId": 0, "deviceVer": 900,
"driverVer": 13000, "deviceName": "NVIDIA H100 80GB HBM3"}"#;

#[test]
fn every_convolution_gets_a_plan() {
    if std::env::var_os(CHILD).is_some() {
        return plan_everything();
    }
    if std::env::var_os("WICK_CUDA_PATH").is_none() {
        println!("skipped: WICK_CUDA_PATH isn't set");
        return;
    }
    let folder = stand_in();
    // The loader reads its path when a process starts, hence a child.
    let inherited = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder.clone()).chain(std::env::split_paths(&inherited))).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_convolution_gets_a_plan", "--nocapture"])
        .env(CHILD, "1")
        .env("LD_LIBRARY_PATH", path)
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(folder);
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// A folder with a stand-in for the driver.
fn stand_in() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("driver-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakecuda.c");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]).args([folder.join("libcuda.so.1"), source]).status().unwrap();
    assert!(status.success(), "cc can't make the stand-in for the driver");
    folder
}

fn plan_everything() {
    let target = Target::offline(H100).unwrap();
    let mut layers = vec![];
    for bottleneck in [false, true] {
        for cifar in [false, true] {
            layers.extend(resnet(bottleneck, cifar));
        }
    }
    let mut seen = HashSet::new();
    let mut problems = vec![];
    for layer in layers {
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            for kind in [Kind::Forward, Kind::GradInput, Kind::GradWeight] {
                problems.push(layer.problem(kind, dtype));
            }
        }
    }
    for layer in RARE {
        for dtype in [DType::BF16, DType::F32, DType::F64] {
            for kind in [Kind::Forward, Kind::GradInput, Kind::GradWeight] {
                problems.push(layer.problem(kind, dtype));
                // As results lie that aren't channels-last; and with the switches.
                problems.push(Problem { channels_last: false, deterministic: true, ..layer.problem(kind, dtype) });
                problems.push(Problem { tf32: true, ..layer.problem(kind, dtype) });
            }
        }
    }
    problems.retain(|p| seen.insert(p.clone()));
    for problem in &problems {
        let plans = Graph::new(problem, &target).and_then(|graph| graph.plans(problem, &target, 1)).unwrap_or_else(|e| panic!("{problem:?}: {e}"));
        assert_eq!(plans.len(), 1, "{problem:?}");
        let json = plans[0].json().unwrap();
        assert!(json.starts_with(b"{"), "{problem:?}: a plan can't be kept on disk");
    }
    println!("{} convolutions", problems.len());
}

#[derive(Clone, Copy)]
struct Layer {
    channels: usize,
    size: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    groups: usize,
}

const fn layer(channels: usize, size: usize, outputs: usize, kernel: usize, stride: usize) -> Layer {
    Layer { channels, size, outputs, kernel, stride, padding: kernel / 2, dilation: 1, groups: 1 }
}

/// Depthwise, grouped, dilated, odd channels, no padding.
const RARE: [Layer; 6] = [
    Layer { groups: 64, ..layer(64, 28, 64, 3, 1) },
    Layer { groups: 4, ..layer(64, 28, 64, 3, 2) },
    Layer { dilation: 2, padding: 2, ..layer(64, 28, 64, 3, 1) },
    layer(9, 17, 5, 3, 1),
    layer(64, 8, 10, 1, 1),
    Layer { padding: 0, ..layer(6, 14, 16, 5, 1) },
];

impl Layer {
    fn problem(&self, kind: Kind, dtype: DType) -> Problem {
        let out = (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) / self.stride + 1;
        let batch = 128;
        Problem {
            kind,
            dtype,
            x: [batch, self.channels, self.size, self.size],
            weight: [self.outputs, self.channels / self.groups, self.kernel, self.kernel],
            y: [batch, self.outputs, out, out],
            channels_last: true,
            stride: [self.stride; 2],
            padding: [self.padding; 2],
            dilation: [self.dilation; 2],
            tf32: false,
            deterministic: false,
        }
    }
}

/// ResNet-18 or -50, for images of 224 or, with a small first layer, 32.
fn resnet(bottleneck: bool, cifar: bool) -> Vec<Layer> {
    let mut layers = match cifar {
        // As the image comes, with channels padded to 8.
        true => vec![layer(3, 32, 64, 3, 1), layer(8, 32, 64, 3, 1)],
        // As the image comes, and folded: 2 x 2 pixels of 3 channels, padded to 16.
        false => vec![layer(3, 224, 64, 7, 2), Layer { padding: 0, ..layer(16, 115, 64, 4, 1) }],
    };
    let (mut channels, mut size) = (64, if cifar { 32 } else { 56 });
    for (stage, blocks) in if bottleneck { [3, 4, 6, 3] } else { [2, 2, 2, 2] }.into_iter().enumerate() {
        let width = 64 << stage;
        let outputs = if bottleneck { 4 * width } else { width };
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            if stride != 1 || channels != outputs {
                layers.push(layer(channels, size, outputs, 1, stride));
            }
            if bottleneck {
                layers.extend([layer(channels, size, width, 1, 1), layer(width, size, width, 3, stride), layer(width, size / stride, outputs, 1, 1)]);
            } else {
                layers.extend([layer(channels, size, outputs, 3, stride), layer(outputs, size / stride, outputs, 3, 1)]);
            }
            (channels, size) = (outputs, size / stride);
        }
    }
    layers
}
