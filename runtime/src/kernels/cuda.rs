//! NVIDIA GPUs: every operation as Burn's plain ones, which its CUDA backend compiles and fuses.

use burn::tensor::ops::FloatTensor;
use burn_cuda::{Cuda, CudaDevice};
use rand_chacha::ChaCha8Rng;

use super::{Kernels, plain};

impl Kernels for Cuda {
    fn kept(dims: &[usize], keep: f64, rng: &mut ChaCha8Rng, device: &CudaDevice) -> FloatTensor<Self> {
        plain::kept_on_device::<Self>(dims, keep, rng, device)
    }
}
