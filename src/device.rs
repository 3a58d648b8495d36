//! `--device`, `--micro-batch` and `--precision`

use clap::{Args, value_parser};
use lmv_runtime::device::DeviceChoice;
use lmv_runtime::precision::Precision;

/// Where the model runs.
#[derive(Args, Clone, Debug)]
pub struct Device {
    /// Where it runs: auto, cpu, cuda, cuda:N or wgpu (what Vulkan, Metal or DirectX 12 has); `auto` takes a GPU if this build can use one and one is there
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
}

/// How a step of training is computed.
#[derive(Args, Clone, Copy, Debug)]
pub struct Compute {
    /// The most samples that go through the model at a time: a batch that the device has no memory for goes in parts, and
    /// is still one step
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub micro_batch: Option<u32>,
    /// What matrix products are computed in: f32, bf16, frozen-bf16 (bf16 in frozen layers, f32 in the others) or f16; f32
    /// where nothing is said, and f16 on a GPU where the recipe has `amp = true`
    #[arg(long, value_name = "TYPE")]
    pub precision: Option<Precision>,
}
