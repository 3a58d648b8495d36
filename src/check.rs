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
    let (mut worst, mut errors, mut wrong, mut mended, mut warnings) = (Exit::Done, 0, 0, 0, 0);
    let mut checked = Checked::default();
    let which = args.variant.variant.as_deref().map_or(Which::All, Which::Variant);
    for path in &args.specs {
        let compiled = match args.fix {
            false => spec::compile_all(path, &args.variant, &[], context).map(|compiled| (compiled, 0)),
            true => mend(path, which, context),
        };
        let (exit, found) = match compiled {
            Ok((compiled, changes)) => {
                mended += changes;
                warnings += compiled.warnings.len();
                checked.add(&compiled, which == Which::All);
                let sound = compiled.diagnostics.is_empty();
                (if sound { Exit::Done } else { spec::verdict(&compiled) }, compiled.diagnostics.len())
            }
            // The reader of the messages has left.
            Err(Exit::Done) => return Exit::Done,
            Err(exit) => {
                checked.specs += 1;
                (exit, 1)
            }
        };
        worst = worst.max(exit);
        errors += found;
        wrong += usize::from(found > 0);
    }
    let what = checked.in_words();
    let mended = if mended > 0 { Some(format!("{} mended", counted(mended, "place", "places"))) } else { None };
    let warned = (warnings > 0).then(|| counted(warnings, "warning", "warnings"));
    context.remark(&match errors {
        0 => {
            let rest: Vec<String> = mended.into_iter().chain(warned).chain(checked.not_yet_run()).collect();
            format!("ok: {}", std::iter::once(what).chain(rest).collect::<Vec<_>>().join("; "))
        }
        _ => {
            let warned = warned.map(|warned| format!(", {warned}")).unwrap_or_default();
            let mended = mended.map(|mended| format!("{mended}, ")).unwrap_or_default();
            let of = if checked.variants == 0 { "them" } else { "the specs" };
            let of = if args.specs.len() == 1 { String::new() } else { format!(" in {wrong} of {of}") };
            format!("{what} checked: {mended}{}{of}{warned}", counted(errors, "error", "errors"))
        }
    });
    worst
}

/// What was checked.
#[derive(Default)]
struct Checked {
    specs: usize,
    variants: usize,
    /// Files that hold parts alone, and what they define.
    files_of_parts: usize,
    definitions: usize,
    /// How many specs use what cannot run yet, with a name of it.
    waiting: usize,
    waits_for: Vec<String>,
}

impl Checked {
    fn add(&mut self, compiled: &Compiled, all_variants: bool) {
        match compiled.parts {
            Some(definitions) => {
                self.files_of_parts += 1;
                self.definitions += definitions;
            }
            None => self.specs += 1,
        }
        self.variants += if all_variants { compiled.variants.len() } else { 0 };
        self.waiting += usize::from(!compiled.not_yet_run.is_empty());
        self.waits_for.extend(compiled.not_yet_run.iter().cloned());
    }

    /// `23 specs, 148 variants`.
    fn in_words(&self) -> String {
        let definitions = counted(self.definitions, "definition", "definitions");
        let parts = match (self.files_of_parts, self.specs) {
            (0, _) => None,
            (1, 0) => Some(format!("{definitions}, no experiment")),
            (files, _) => Some(format!("{} of parts with {definitions}", counted(files, "file", "files"))),
        };
        let some = |count: usize, one, many| (count > 0).then(|| counted(count, one, many));
        let counts = [some(self.specs, "spec", "specs"), some(self.variants, "variant", "variants"), parts];
        counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What of it can be checked and not run.
    fn not_yet_run(&self) -> Option<String> {
        let mut names = self.waits_for.clone();
        names.sort();
        names.dedup();
        let parts = match names.as_slice() {
            [] => return None,
            [only] => format!("`{only}`, which cannot run yet"),
            several => format!("{} parts that cannot run yet", several.len()),
        };
        let who = match self.specs {
            1 => "it uses".to_owned(),
            _ => format!("{} use{}", counted(self.waiting, "spec", "specs"), if self.waiting == 1 { "s" } else { "" }),
        };
        Some(format!("{who} {parts} (lmvc explain not_yet_run)"))
    }
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
