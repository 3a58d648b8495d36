//! Where a model runs. The one place that names Burn's backends.

use std::fmt;
use std::str::FromStr;

use burn_flex::Flex;
use lmv_compiler::passes::Passes;

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::precision::Precision;

/// A device as `--device` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if this build can use one and one is there, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
                Some(n) => Ok(Self::Cuda(n)),
                None => Err(format!("`{text}` is no device; it is one of auto, cpu, cuda, cuda:N")),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Work that runs on whichever backend the device asks for.
pub trait Work {
    /// What it gives.
    type Output;

    /// Does the work on one device of a backend.
    fn run<B: Kernels>(self, device: B::Device) -> Self::Output;
}

/// What `auto` comes to on this machine, and a line to tell the user where that is not what they may expect.
pub fn settle(choice: DeviceChoice) -> Result<(DeviceChoice, Option<String>)> {
    let gpu = nvidia_gpu_is_there();
    match choice {
        DeviceChoice::Cpu => Ok((DeviceChoice::Cpu, None)),
        DeviceChoice::Auto if gpu && cfg!(feature = "cuda") => Ok((DeviceChoice::Cuda(0), None)),
        DeviceChoice::Auto if gpu => Ok((
            DeviceChoice::Cpu,
            Some(
                "an NVIDIA GPU is here, and this lmvc was built without it: cargo build --release --features cuda"
                    .into(),
            ),
        )),
        DeviceChoice::Auto => Ok((DeviceChoice::Cpu, None)),
        DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => Err(Failure::new("this lmvc was built without CUDA")
            .help("build it by `cargo build --release --features cuda`, or use `--device cpu`")),
        DeviceChoice::Cuda(n) if !gpu => {
            Err(Failure::new(format!("there is no NVIDIA GPU for `--device cuda:{n}`")).help("use `--device cpu`"))
        }
        DeviceChoice::Cuda(n) => Ok((DeviceChoice::Cuda(n), None)),
    }
}

/// The passes that a settled device is given. On the CPU joined linear layers do not pay, and a weight with a norm's gain
/// in it could not stay in half precision (docs/decisions.md).
pub fn passes(device: DeviceChoice) -> Passes {
    let cuda = matches!(device, DeviceChoice::Cuda(_));
    Passes { join_linears: cuda, fold_norms: cuda, ..Passes::ALL }
}

/// What training computes matrix products in on a settled device: what is asked for, else half precision on a GPU where the
/// recipe has `amp`, as the reference has (paper.md §3.3).
pub fn precision(device: DeviceChoice, asked: Option<Precision>, amp: bool) -> Precision {
    match (asked, device) {
        (Some(precision), _) => precision,
        (None, DeviceChoice::Cuda(_)) if amp => Precision::F16,
        _ => Precision::F32,
    }
}

/// Does the work on a settled device.
pub fn run<W: Work>(device: DeviceChoice, work: W) -> W::Output {
    match device {
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(n) => work.run::<burn_cuda::Cuda>(burn_cuda::CudaDevice::new(n)),
        _ => work.run::<Flex>(Default::default()),
    }
}

fn nvidia_gpu_is_there() -> bool {
    std::path::Path::new("/dev/nvidia0").exists() || std::path::Path::new("/proc/driver/nvidia/version").exists()
}
