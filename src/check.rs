//! `lmvc check SPEC…`

use std::path::PathBuf;

use crate::context::{Context, Exit};
use crate::spec;
use crate::units::counted;

/// Check specs: names, arguments, shapes, freezing, data, measures
///
/// Prints nothing but what is wrong and a line that sums it up. Reads no data and no weights.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// Checks all specs, also those after a wrong one.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (mut worst, mut errors, mut wrong) = (Exit::Done, 0, 0);
    for path in &args.specs {
        let (exit, found) = match spec::compile(path, &[], context) {
            Ok((_, compiled)) if compiled.experiment.is_some() => (Exit::Done, 0),
            Ok((_, compiled)) => (spec::verdict(&compiled), compiled.diagnostics.len()),
            // The reader of the messages has left.
            Err(Exit::Done) => return Exit::Done,
            Err(exit) => (exit, 1),
        };
        worst = worst.max(exit);
        errors += found;
        wrong += usize::from(found > 0);
    }
    let specs = args.specs.len();
    context.remark(&match errors {
        0 => format!("{} checked: no errors", counted(specs, "spec", "specs")),
        _ if specs == 1 => format!("1 spec checked: {}", counted(errors, "error", "errors")),
        _ => format!("{specs} specs checked: {} in {wrong} of them", counted(errors, "error", "errors")),
    });
    worst
}
