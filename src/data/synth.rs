//! `lmvc data synth TASK DIR`

use std::path::PathBuf;

use clap::{ValueEnum, value_parser};
use lmv_runtime::data::{SynthImages, synth_images};
use lmv_runtime::error::Failure;

use crate::context::{Context, Exit};

/// Write a small learnable dataset in the form that a task reads
#[derive(clap::Args, Debug)]
pub struct Synth {
    /// The task it is for
    #[arg(value_enum)]
    pub task: Task,
    /// The folder to write
    pub dir: PathBuf,
    /// Classes, at most 16
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(2..=16))]
    pub classes: u16,
    /// Samples of each class to train on
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..))]
    pub train: u32,
    /// Samples of each class to evaluate on
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..))]
    pub val: u32,
    /// Pixels on each side, 8 to 1024
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u16).range(8..=1024))]
    pub size: u16,
    /// Another seed, other samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// What data can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Image classification: DIR/train/CLASS/*.png and DIR/val/CLASS/*.png; the class is the shape
    Images,
}

/// Writes the data, and says what is there.
pub fn run(wanted: &Synth, context: &Context) -> Exit {
    match synth(wanted) {
        Ok(summary) => {
            context.remark(&summary);
            Exit::Done
        }
        Err(failure) => context.failed(&failure),
    }
}

/// Writes the dataset, and says what was written.
fn synth(wanted: &Synth) -> Result<String, Failure> {
    match wanted.task {
        Task::Images => {
            let options = SynthImages {
                classes: wanted.classes.into(),
                train_per_class: wanted.train as usize,
                val_per_class: wanted.val as usize,
                size: wanted.size.into(),
                seed: wanted.seed,
            };
            let summary = synth_images(&wanted.dir, options)?;
            let verb = if summary.drawn { "drew" } else { "kept what was drawn before:" };
            Ok(format!(
                "{verb} {} training and {} evaluation images of {} classes in {}",
                summary.train,
                summary.val,
                wanted.classes,
                wanted.dir.display()
            ))
        }
    }
}
