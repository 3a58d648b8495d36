//! `lmvc data …`: data to try specs on, and data to measure them with.

mod corrupt;
mod synth;

use clap::Subcommand;

use crate::context::{Context, Exit};

/// Make data to try specs on, or to measure them with
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Synth(synth::Synth),
    Corrupt(corrupt::Corrupt),
}

/// Makes the data, and says what is there.
pub fn run(args: &Args, context: &Context) -> Exit {
    match &args.command {
        Command::Synth(wanted) => synth::run(wanted, context),
        Command::Corrupt(wanted) => corrupt::run(wanted, context),
    }
}
