//! The runtime: plans of typed graphs on Burn, weights, data, training and evaluation.
//!
//! The way of a spec through it, each step named by what takes it:
//! 1. [`network::Network`] turns the nodes of the graph's plan into layers ([`layers`]) on a backend ([`kernels`], [`device`]).
//! 2. [`parameters`] starts the parameters ([`init`]) and fills them from checkpoints ([`weights`]).
//!    [`proof`] holds these against the lock beside the spec.
//! 3. [`tasks`] opens the data ([`data`]) and makes batches of it.
//! 4. [`training`] steps through them and keeps the run folder; [`evaluation`] measures; [`inference`] runs tensors
//!    through.
//!
//! It never prints: what happens goes to an [`events::Observer`], what fails is an [`error::Failure`].

pub mod benchmark;
pub mod caches;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluation;
pub mod events;
pub mod examples;
pub mod generation;
pub mod inference;
pub mod init;
pub mod inspection;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod network;
pub mod parameters;
pub mod places;
pub mod precision;
pub mod proof;
pub mod runnable;
pub mod stream;
pub mod tasks;
pub mod training;
pub mod weights;

pub use lmv_kernels as kernels;
pub use lmv_kernels::geometry;
