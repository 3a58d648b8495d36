//! The parts of training that need no tensor library: plain slices, numbers and files.
//!
//! | subject | file |
//! |---|---|
//! | the learning rate of a step | [`schedule`] |

pub mod schedule;
