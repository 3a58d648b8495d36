//! `lmvc`, the command line of lmv: one file a subcommand, thin. What a spec means is the compiler's matter, what runs is
//! the runtime's; here are files, the terminal and exit codes.
//!
//! 1. [`Cli`] says what may be typed; clap answers what is not (exit code 2).
//! 2. [`context::Context`] settles how to talk: colour, people or programs.
//! 3. The subcommand's `run` does the work and gives an [`Exit`].

mod ablate;
mod bench;
mod build;
mod check;
mod command_line;
mod completions;
mod config;
mod context;
mod cut_short;
mod data;
mod device;
mod eval;
mod explain;
mod fmt;
mod generate;
mod infer;
mod inspect;
mod interruption;
mod locate;
mod memory;
mod new;
mod progress;
mod proof;
mod report;
mod rewrite;
mod room;
mod scores;
mod show;
mod spec;
mod train;
mod units;
mod weights;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::context::{Context, Exit, Global};

/// Compiles, trains and evaluates lmv specs: models with frozen transformer blocks inside.
#[derive(Parser)]
#[command(name = "lmvc", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 the spec is wrong; 2 the command line is wrong; 3 it failed while running."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Fmt(fmt::Args),
    Show(show::Args),
    Train(train::Args),
    Ablate(ablate::Args),
    Eval(eval::Args),
    Report(report::Args),
    Infer(infer::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Generate(generate::Args),
    Data(data::Args),
    Weights(weights::Args),
    Build(build::Args),
    Explain(explain::Args),
    New(new::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|fault| context::to_stderr(&fault_message(fault))));
    // A panic ends in the code for a failed run; the hook has said what happened.
    std::panic::catch_unwind(run).unwrap_or(Exit::Failed).into()
}

/// What a panic says. Where work goes on on a GPU, one that the GPU makes comes from a thread of its own, and more follow.
fn fault_message(fault: &std::panic::PanicHookInfo<'_>) -> String {
    static TOLD: AtomicBool = AtomicBool::new(false);
    match (lmv_runtime::device::gpu_is_used(), TOLD.swap(true, Ordering::Relaxed)) {
        (true, true) => String::new(),
        (true, false) => format!(
            "error: the GPU could not go on: {fault}\n\
             help: where its memory is full, `--micro-batch N` takes a batch in parts, `--set train.batch=N` makes it smaller, \
             and `--device cpu` has the computer's own memory; if that is not it, please report it with the command and the \
             spec\n"
        ),
        (false, _) => format!(
            "error: this is a fault of lmvc, not of your spec: {fault}\n\
             help: please report it with the command and the spec that led to it\n"
        ),
    }
}

fn run() -> Exit {
    memory::keep_large_buffers();
    cut_short::tell();
    let cli = match command_line::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version are answers, too. Nobody is there to be told of a terminal that is gone.
            let _ = answer.print();
            return if answer.use_stderr() { Exit::WrongCommand } else { Exit::Done };
        }
    };
    let context = Context::new(&cli.global);
    match &cli.command {
        Command::Check(args) => check::run(args, &context),
        Command::Fmt(args) => fmt::run(args, &context),
        Command::Show(args) => show::run(args, &context),
        Command::Train(args) => train::run(args, &context),
        Command::Ablate(args) => ablate::run(args, &context),
        Command::Eval(args) => eval::run(args, &context),
        Command::Report(args) => report::run(args, &context),
        Command::Infer(args) => infer::run(args, &context),
        Command::Bench(args) => bench::run(args, &context),
        Command::Inspect(args) => inspect::run(args, &context),
        Command::Generate(args) => generate::run(args, &context),
        Command::Data(args) => data::run(args, &context),
        Command::Weights(args) => weights::run(args, &context),
        Command::Build(args) => build::run(args, &context),
        Command::Explain(args) => explain::run(args, &context),
        Command::New(args) => new::run(args, &context),
        Command::Completions(args) => completions::run(args, &context),
    }
}
