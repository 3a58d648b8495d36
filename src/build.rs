//! `lmvc build SPEC --emit STAGE`

use std::path::PathBuf;

use clap::ValueEnum;
use lmv_compiler::passes::Passes;
use lmv_runtime::device::{self, DeviceChoice};
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
    /// With `plan`: leaves all passes out, so that the plan is the graph as it stands
    #[arg(long)]
    no_passes: bool,
}

/// A stage between the text and what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The syntax tree
    Ast,
    /// The typed graph with the settings of the experiment
    Graph,
    /// What runs on the CPU: the graph after the passes
    Plan,
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
        Stage::Plan => {
            let passes = if args.no_passes { Passes::NONE } else { device::passes(DeviceChoice::Cpu) };
            let checked = spec::checked(&args.spec, &args.variant, &[], context)?;
            context.print(&json(&passes.plan(&checked.experiment.graph)))
        }
    }
}

/// Indented JSON with a line's end.
pub fn json(value: &impl Serialize) -> String {
    // Trees, graphs and settings hold nothing that JSON has no form for: all their keys are texts.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
