//! The runtime: typed graphs on Burn, weights, data, training and evaluation.

pub mod data;
pub mod error;
pub mod kernels;
pub mod training;
pub mod weights;
