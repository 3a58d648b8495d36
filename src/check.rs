//! `lmvc check SPEC…`

use std::path::{Path, PathBuf};

use lmv_compiler::Compiled;
use lmv_compiler::fix::{Change, Fixed, fix};
use serde_json::json;

use crate::context::{Context, Exit, MessageFormat};
use crate::rewrite::rewrite;
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
    /// Mends what can only have been meant in one way, in the files themselves: misspelt names, widths with one number
    /// that fits; says what it changed
    #[arg(long)]
    fix: bool,
}

/// Checks all specs, also those after a wrong one.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (mut worst, mut errors, mut wrong, mut mended) = (Exit::Done, 0, 0, 0);
    for path in &args.specs {
        let compiled = match args.fix {
            false => spec::compile(path, &[], context).map(|(_, compiled)| (compiled, 0)),
            true => mend(path, context),
        };
        let (exit, found) = match compiled {
            Ok((compiled, changes)) => {
                mended += changes;
                let sound = compiled.experiment.is_some();
                (if sound { Exit::Done } else { spec::verdict(&compiled) }, compiled.diagnostics.len())
            }
            // The reader of the messages has left.
            Err(Exit::Done) => return Exit::Done,
            Err(exit) => (exit, 1),
        };
        worst = worst.max(exit);
        errors += found;
        wrong += usize::from(found > 0);
    }
    let specs = args.specs.len();
    let mended = if mended > 0 { format!("{} mended, ", counted(mended, "place", "places")) } else { String::new() };
    context.remark(&match errors {
        0 => format!("{} checked: {mended}no errors", counted(specs, "spec", "specs")),
        _ if specs == 1 => format!("1 spec checked: {mended}{}", counted(errors, "error", "errors")),
        _ => format!("{specs} specs checked: {mended}{} in {wrong} of them", counted(errors, "error", "errors")),
    });
    worst
}

/// Mends the spec at `path` as far as that is safe, and tells what was changed and what is still wrong. Gives what the
/// compiler makes of it now, and how many places were changed.
fn mend(path: &Path, context: &Context) -> Result<(Compiled, usize), Exit> {
    let text = spec::read(path, context)?;
    let Fixed { text: after, changes, compiled } = fix(&text, |text| spec::compile_text(path, text, &[]));
    if !changes.is_empty() {
        rewrite(path, &text, &after, context)?;
        changes.iter().try_for_each(|change| told(path, change, context))?;
    }
    spec::tell_all(&compiled, context)?;
    Ok((compiled, changes.len()))
}

fn told(path: &Path, change: &Change, context: &Context) -> Result<(), Exit> {
    let Change { line, column, before, after, code } = change;
    let file = path.display();
    match context.message_format {
        MessageFormat::Human => {
            context.remark(&format!("fixed[{code}]: {file}:{line}:{column}: `{before}` is now `{after}`"));
            Ok(())
        }
        MessageFormat::Json => context.print(&format!(
            "{}\n",
            json!({ "fixed": { "code": code, "file": file.to_string(), "line": line, "column": column,
                               "before": before, "after": after } })
        )),
    }
}
