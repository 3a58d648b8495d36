//! `--device`

use clap::Args;
use lmv_runtime::device::DeviceChoice;

/// Where the model runs.
#[derive(Args, Clone, Debug)]
pub struct Device {
    /// Where it runs: auto, cpu, cuda or cuda:N; `auto` takes a GPU if this build can use one and one is there
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
}
