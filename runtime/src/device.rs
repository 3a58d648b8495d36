//! Where a model runs. The one place that names Burn's backends.

mod gpu;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// The NVIDIA GPU of that number.
    Cuda(usize),
    /// The best GPU that Vulkan, Metal or DirectX 12 has.
    Wgpu,
}

impl DeviceChoice {
    /// Whether it is a GPU, of whichever make.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Cuda(_) | Self::Wgpu)
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "wgpu" => Ok(Self::Wgpu),
            _ => match text.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
                Some(n) => Ok(Self::Cuda(n)),
                None => Err(format!("`{text}` is no device; it is one of auto, cpu, cuda, cuda:N, wgpu")),
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
            Self::Wgpu => f.write_str("wgpu"),
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
///
/// # Errors
/// This build cannot use the device that is asked for, or it is not there.
pub fn settle(choice: DeviceChoice) -> Result<(DeviceChoice, Option<String>)> {
    match choice {
        DeviceChoice::Cpu => Ok((DeviceChoice::Cpu, None)),
        DeviceChoice::Auto => Ok(automatic()),
        DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => Err(Failure::new("this lmvc was built without CUDA")
            .help("build it by `cargo build --release --features cuda`, or use `--device cpu`")),
        DeviceChoice::Cuda(n) if !nvidia_gpu_is_there(n) => {
            Err(Failure::new(format!("there is no NVIDIA GPU for `--device cuda:{n}`")).help("use `--device cpu`"))
        }
        DeviceChoice::Cuda(n) => Ok((DeviceChoice::Cuda(n), None)),
        DeviceChoice::Wgpu if !cfg!(feature = "wgpu") => Err(Failure::new("this lmvc was built without wgpu")
            .help("build it by `cargo build --release --features wgpu`, or use `--device cpu`")),
        DeviceChoice::Wgpu => match gpu::adapter() {
            None => Err(Failure::new("no GPU was found by way of Vulkan, Metal or DirectX 12")
                .help("install the driver of the GPU, or use `--device cpu`")),
            Some(adapter) => {
                let name = &adapter.name;
                let played = || format!("`{name}` is no GPU: the processor plays it, and `--device cpu` is faster");
                Ok((DeviceChoice::Wgpu, adapter.software.then(played)))
            }
        },
    }
}

/// A GPU if this build can use one and one is there.
fn automatic() -> (DeviceChoice, Option<String>) {
    let nvidia = nvidia_gpu_is_there(0);
    if nvidia && cfg!(feature = "cuda") {
        return (DeviceChoice::Cuda(0), None);
    }
    if gpu::adapter().is_some_and(|adapter| !adapter.software) {
        return (DeviceChoice::Wgpu, None);
    }
    let without = "an NVIDIA GPU is here, and this lmvc was built without it: cargo build --release --features cuda";
    (DeviceChoice::Cpu, nvidia.then(|| without.into()))
}

/// The passes that a settled device is given: on the CPU one product of all rows is no faster than three, on a GPU it is one
/// launch in place of three (docs/decisions.md).
pub fn passes(device: DeviceChoice) -> Passes {
    Passes { join_linears: device.is_gpu(), ..Passes::ALL }
}

/// What training computes matrix products in on a settled device: what is asked for, else half precision on a GPU that has
/// it where the recipe has `amp`, as the reference has (paper.md §3.3).
///
/// # Errors
/// The device does not compute in what is asked for.
pub fn precision(device: DeviceChoice, asked: Option<Precision>, amp: bool) -> Result<Precision> {
    let has = |precision| match (device, precision) {
        (_, Precision::F32) | (DeviceChoice::Auto | DeviceChoice::Cpu | DeviceChoice::Cuda(_), _) => true,
        (DeviceChoice::Wgpu, Precision::F16) => gpu::adapter().is_some_and(|adapter| adapter.f16),
        // The language of its kernels has no such type.
        (DeviceChoice::Wgpu, Precision::Bf16 | Precision::FrozenBf16) => false,
    };
    match asked {
        Some(precision) if !has(precision) => Err(Failure::new(format!(
            "`--device {device}` does not compute in {precision}"
        ))
        .help(match has(Precision::F16) {
            true => "use `--precision f16` or `f32`, or another device",
            false => "use `--precision f32`, or another device",
        })),
        Some(precision) => Ok(precision),
        None if amp && device.is_gpu() && has(Precision::F16) => Ok(Precision::F16),
        None => Ok(Precision::F32),
    }
}

/// Whether work of this process has begun on a GPU: then what fails may be the GPU, or its memory.
pub fn gpu_is_used() -> bool {
    GPU_IS_USED.load(Ordering::Relaxed)
}

static GPU_IS_USED: AtomicBool = AtomicBool::new(false);

/// Does the work on a settled device.
pub fn run<W: Work>(device: DeviceChoice, work: W) -> W::Output {
    GPU_IS_USED.fetch_or(device.is_gpu(), Ordering::Relaxed);
    match device {
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(n) => {
            gpu::prepare();
            work.run::<burn_cuda::Cuda>(burn_cuda::CudaDevice::new(n))
        }
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu => {
            gpu::prepare();
            work.run::<burn_wgpu::Wgpu>(burn_wgpu::WgpuDevice::DefaultDevice)
        }
        _ => work.run::<Flex>(Default::default()),
    }
}

fn nvidia_gpu_is_there(n: usize) -> bool {
    let driver = || std::path::Path::new("/proc/driver/nvidia/version").exists();
    std::path::Path::new(&format!("/dev/nvidia{n}")).exists() || n == 0 && driver()
}
