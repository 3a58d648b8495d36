//! `lmvc data synth TASK DIR`

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum, value_parser};
use lmv_runtime::error::Failure;

use crate::context::{Context, Exit};

/// Make data to try specs on
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Synth(Synth),
}

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
pub fn run(args: &Args, context: &Context) -> Exit {
    let Command::Synth(wanted) = &args.command;
    match synth(wanted) {
        Ok(summary) => {
            context.remark(&summary);
            Exit::Done
        }
        Err(failure) => context.failed(&failure),
    }
}

// ===================================================================================================================
// THE RUNTIME GOES IN BELOW: this function, and nothing above, is to be filled in.
// ===================================================================================================================

/// Writes the data; gives a line for people: what is in the folder now.
fn synth(wanted: &Synth) -> Result<String, Failure> {
    match wanted.task {
        Task::Images => Err(Failure::at(&wanted.dir, "this build of lmvc cannot draw images")),
    }
}
