//! `lmvc build SPEC --emit STAGE`

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::context::{Context, Exit};
use crate::spec::{self, Variant};

/// Print a stage of the compilation as JSON
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// Which stage
    #[arg(long, value_enum, value_name = "STAGE")]
    emit: Stage,
}

/// A stage between the text and what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The syntax tree
    Ast,
    /// The typed graph with the settings of the experiment
    Graph,
}

/// Prints the stage.
pub fn run(args: &Args, context: &Context) -> Exit {
    emit(args, context).into()
}

fn emit(args: &Args, context: &Context) -> Result<(), Exit> {
    match args.emit {
        Stage::Ast => {
            // A tree needs no sound spec, only sound syntax; what is wrong behind it is told by the other stages.
            let text = spec::read(&args.spec, context)?;
            let parsed = lmv_grammar::parse(&text);
            match parsed.errors.is_empty() {
                true => context.print(&json(&parsed.file)),
                false => Err(spec::checked(&args.spec, &args.variant, &[], context).err().unwrap_or(Exit::WrongSpec)),
            }
        }
        Stage::Graph => context.print(&json(&spec::checked(&args.spec, &args.variant, &[], context)?.experiment)),
    }
}

/// Indented JSON with a line's end.
pub fn json(value: &impl Serialize) -> String {
    // Trees, graphs and settings hold nothing that JSON has no form for: all their keys are texts.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
