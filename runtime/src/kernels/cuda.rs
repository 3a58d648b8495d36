//! NVIDIA GPUs: every operation as Burn's plain ones, which its CUDA backend compiles and fuses.

use burn_cuda::Cuda;

use super::Kernels;

impl Kernels for Cuda {}
