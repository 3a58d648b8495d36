//! The parts of training that need no tensor library: plain slices, numbers and files.
//!
//! | subject | file |
//! |---|---|
//! | the learning rate of a step | [`schedule`] |
//! | every random number of a run | [`seeds`] |
//! | mixup and cutmix with their soft targets | [`mix`] |
//! | the norm of the gradient and its limit | [`clip`] |
//! | accuracy and running means | [`meters`] |
//! | from gradients to parameters | [`update`] |
//! | files that are whole or absent | [`atomic_file`] |
//! | the folder of a run and its `metrics.jsonl` | [`run_folder`], [`metrics`] |
//! | named tensors on disk | [`tensor_file`] |
//! | checkpoints that survive a kill at any moment | [`checkpoint_store`] |

pub mod atomic_file;
pub mod checkpoint_store;
pub mod clip;
pub mod engine;
pub mod lock;
pub mod loss_scale;
pub mod meters;
pub mod metrics;
pub mod mix;
pub mod recipe;
pub mod run_folder;
pub mod schedule;
pub mod seeds;
pub mod step;
pub mod tensor_file;
pub mod update;
