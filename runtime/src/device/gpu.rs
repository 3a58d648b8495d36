//! What a GPU wants before it is asked for anything, and what there is of GPUs.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(super) use self::kept::prepare;

/// A GPU that Vulkan, Metal or DirectX 12 has.
#[derive(Clone, Debug)]
pub(super) struct Adapter {
    /// Its name, as its driver says it.
    pub name: String,
    /// Whether a processor plays it.
    pub software: bool,
    /// Whether it computes in half precision.
    pub f16: bool,
}

/// The GPU that Burn takes by default; none where there is none, or where this build can use none.
#[cfg(feature = "wgpu")]
pub(super) fn adapter() -> Option<Adapter> {
    use std::sync::OnceLock;

    use burn_wgpu::graphics::{AutoGraphicsApi, GraphicsApi};

    static ADAPTER: OnceLock<Option<Adapter>> = OnceLock::new();
    let found = ADAPTER.get_or_init(|| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: AutoGraphicsApi::backend().into(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = cubecl::future::block_on(instance.request_adapter(&wanted)).ok()?;
        let info = adapter.get_info();
        Some(Adapter {
            name: info.name,
            software: info.device_type == wgpu::DeviceType::Cpu,
            f16: adapter.features().contains(wgpu::Features::SHADER_F16),
        })
    });
    found.clone()
}

#[cfg(not(feature = "wgpu"))]
pub(super) fn adapter() -> Option<Adapter> {
    None
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod kept {
    use std::sync::Once;

    use cubecl::config::cache::CacheConfig;
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    use crate::caches;

    static PREPARED: Once = Once::new();

    /// Has what was found out about the GPU kept from one run to the next, beside what else is ([`caches`]): which of several
    /// kernels was the fastest for a product, and on CUDA the kernels as they were compiled. To find out takes from seconds to
    /// minutes. Where nothing is to be kept, it goes to the folder for temporary files.
    pub(in crate::device) fn prepare() {
        PREPARED.call_once(|| {
            let folder = caches::folder(|name| std::env::var(name).ok());
            let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("lmv-{}", std::process::id())));
            let mut config = CubeClRuntimeConfig::default();
            config.autotune.cache = CacheConfig::File(folder.join("gpu"));
            config.compilation.cache = Some(CacheConfig::File(folder.join("gpu")));
            CubeClRuntimeConfig::set(config.override_from_env());
        });
    }
}
