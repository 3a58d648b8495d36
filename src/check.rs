//! `lmvc check SPEC…`

use std::path::{Path, PathBuf};

use lmv_compiler::fix::{Change, Fixed, fix};
use lmv_compiler::{Compiled, Which};
use serde_json::json;

use crate::context::{Context, Exit, MessageFormat};
use crate::rewrite::rewrite;
use crate::spec::{self, Variant};
use crate::units::counted;

/// Check specs: names, arguments, shapes, freezing, data, measures
///
/// Prints nothing but what is wrong and a line that sums it up. Reads no data and no weights. A spec is checked with all
/// its variants, unless one is named.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The specs
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    #[command(flatten)]
    variant: Variant,
    /// Mends what can only have been meant in one way, in the files themselves: misspelt names, widths with one number
    /// that fits; says what it changed
    #[arg(long)]
    fix: bool,
}

/// Checks all specs, also those after a wrong one.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (mut worst, mut errors, mut wrong, mut mended, mut variants) = (Exit::Done, 0, 0, 0, 0);
    let which = args.variant.variant.as_deref().map_or(Which::All, Which::Variant);
    for path in &args.specs {
        let compiled = match args.fix {
            false => spec::compile_all(path, &args.variant, &[], context).map(|compiled| (compiled, 0)),
            true => mend(path, which, context),
        };
        let (exit, found) = match compiled {
            Ok((compiled, changes)) => {
                mended += changes;
                variants += if which == Which::All { compiled.variants.len() } else { 0 };
                let sound = compiled.diagnostics.is_empty();
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
    let what = match variants {
        0 => counted(specs, "spec", "specs"),
        _ => format!("{} with {}", counted(specs, "spec", "specs"), counted(variants, "variant", "variants")),
    };
    context.remark(&match errors {
        0 => format!("{what} checked: {mended}no errors"),
        _ if specs == 1 => format!("{what} checked: {mended}{}", counted(errors, "error", "errors")),
        _ => {
            let of = if variants == 0 { "them" } else { "the specs" };
            format!("{what} checked: {mended}{} in {wrong} of {of}", counted(errors, "error", "errors"))
        }
    });
    worst
}

/// Mends the spec at `path` as far as that is safe, and tells what was changed and what is still wrong. Gives what the
/// compiler makes of it now, and how many places were changed.
fn mend(path: &Path, which: Which<'_>, context: &Context) -> Result<(Compiled, usize), Exit> {
    let text = spec::read(path, context)?;
    let Fixed { text: after, changes, compiled } = fix(&text, |text| spec::compile_text(path, text, which, &[]));
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
            let what = match before.as_str() {
                "" => format!("put in `{}`", after.trim()),
                before => format!("`{before}` is now `{after}`"),
            };
            context.remark(&format!("fixed[{code}]: {file}:{line}:{column}: {what}"));
            Ok(())
        }
        MessageFormat::Json => context.print(&format!(
            "{}\n",
            json!({ "fixed": { "code": code, "file": file.to_string(), "line": line, "column": column,
                               "before": before, "after": after } })
        )),
    }
}
