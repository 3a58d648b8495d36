//! The parts of training that need no tensor library: plain slices, numbers and files.
//!
//! | subject | file |
//! |---|---|
//! | the learning rate of a step | [`schedule`] |
//! | every random number of a run | [`seeds`] |
//! | mixup and cutmix with their soft targets | [`mix`] |

pub mod mix;
pub mod schedule;
pub mod seeds;
