//! The parts of training that need no tensor library: plain slices, numbers and files.
//!
//! | subject | file |
//! |---|---|
//! | the learning rate of a step | [`schedule`] |
//! | every random number of a run | [`seeds`] |
//! | mixup and cutmix with their soft targets | [`mix`] |
//! | the norm of the gradient and its limit | [`clip`] |
//! | accuracy and running means | [`meters`] |

pub mod clip;
pub mod meters;
pub mod mix;
pub mod schedule;
pub mod seeds;
