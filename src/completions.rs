//! `lmvc completions SHELL`

use clap_complete::Shell;

use crate::context::{Context, Exit};

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args, context: &Context) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command_line::command(), "lmvc", &mut script);
    context.print(&String::from_utf8_lossy(&script)).into()
}
