//! A spec from its path to what the compiler makes of it, with every way in which that can go wrong told once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lmv_compiler::codes::Code;
use lmv_compiler::diagnostic::Diagnostic;
use lmv_compiler::files::{Files, Unreadable};
use lmv_compiler::source::{Origin, Source, Sources};
use lmv_compiler::{Compiled, Experiment, Spec, Which};
use lmv_grammar::ast::Span;
use lmv_runtime::parameters::settings_left_open;
use lmv_runtime::places::Places;
use lmv_runtime::training::lock::{self, Lock};

use crate::context::{Context, Exit, Message, MessageFormat, to_stderr};

/// The most that is read of a spec, in bytes. The specs of a whole paper are a few kilobytes.
pub const LARGEST: u64 = 4 * 1024 * 1024;

/// A setting and the expression it is set to from outside: `("train.lr", "1e-4")`.
pub type Override = (String, String);

/// `--set`.
#[derive(Args, Clone, Debug, Default)]
pub struct Set {
    /// Sets an argument or field of the recipe or the dataset: `train.lr=1e-4`, `data.image=64`; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_override)]
    pub set: Vec<Override>,
}

/// `--variant`.
#[derive(Args, Clone, Debug, Default)]
pub struct Variant {
    /// One of the spec's variants, in place of the spec itself: `mlp`, or `layer.31` of a family
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// The run whose variant it is, where the command line names none.
    #[arg(skip)]
    pub of_run: Option<PathBuf>,
}

impl Variant {
    /// A spec's name with the variant behind it, where one is meant: for titles.
    pub fn behind(&self, spec: String) -> String {
        match &self.variant {
            Some(variant) => format!("{spec}, variant {variant}"),
            None => spec,
        }
    }

    /// What the compiler is asked for.
    fn which(&self) -> Which<'_> {
        self.variant.as_deref().map_or(Which::Base, Which::Variant)
    }
}

/// A spec that is right.
pub struct Checked {
    /// Where it is.
    pub path: PathBuf,
    /// Which variant of it.
    pub variant: Variant,
    /// What was set from outside: on the command line, and by what lies beside its weights.
    pub set: Vec<Override>,
    /// Of that, what lies beside its weights.
    pub by_weights: Vec<Override>,
    /// What the compiler made of it, for showing places.
    pub compiled: Compiled,
    /// The spec itself.
    pub experiment: Experiment,
}

impl Checked {
    /// BLAKE3 of the spec as a run's folder keeps it, and of each file that it imports by its path there.
    pub fn hashes(&self) -> (String, BTreeMap<String, String>) {
        let files = self.compiled.folder().into_iter();
        let mut imports: BTreeMap<String, String> =
            files.map(|(path, text)| (path, lock::hash(text.as_bytes()))).collect();
        (imports.remove("spec.lmv").unwrap_or_default(), imports)
    }

    /// The same with what the configurations beside its weights say and the spec leaves to them, such as the eps of a
    /// language model's norms.
    pub fn with_weights(self, places: &Places, context: &Context) -> Result<Self, Exit> {
        let by_weights = settings_left_open(&self.experiment.graph, places);
        if by_weights.is_empty() {
            return Ok(self);
        }
        let said: Vec<String> = by_weights.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        context.remark(&format!("the configuration beside the weights says {}", said.join(", ")));
        let set = [&self.set[..], &by_weights[..]].concat();
        let text = self.compiled.sources.get(self.compiled.file).text.clone();
        let compiled = compile_text(&self.path, &text, self.variant.which(), &set);
        tell_all(&compiled, context)?;
        match compiled.experiment.clone() {
            Some(experiment) => Ok(Self { set, by_weights, compiled, experiment, ..self }),
            None => Err(verdict(&compiled)),
        }
    }
}

/// Reads and compiles the spec at `path`, or a variant of it; what is wrong with it is told.
pub fn checked(path: &Path, variant: &Variant, overrides: &[Override], context: &Context) -> Result<Checked, Exit> {
    let compiled = compile_variant(path, variant, overrides, context)?;
    match compiled.experiment.clone() {
        Some(experiment) => Ok(Checked {
            path: path.to_path_buf(),
            variant: variant.clone(),
            set: overrides.to_vec(),
            by_weights: Vec::new(),
            compiled,
            experiment,
        }),
        None => Err(verdict(&compiled)),
    }
}

/// Reads and compiles the spec at `path`, and tells its diagnostics. An `Err` is a file that cannot be read, and a
/// variant that is not there.
fn compile_variant(
    path: &Path,
    variant: &Variant,
    overrides: &[Override],
    context: &Context,
) -> Result<Compiled, Exit> {
    let compiled = compile(path, variant.which(), overrides, context)?;
    match &variant.variant {
        Some(name) if compiled.diagnostics.is_empty() && !compiled.variants.iter().any(|known| known == name) => {
            let message = no_variant(path, name, &compiled.variants);
            Err(context.wrong_command(&match &variant.of_run {
                Some(run) => message.note(format!("the run `{}` is of that variant", run.display())),
                None => message,
            }))
        }
        _ => Ok(compiled),
    }
}

/// The same of a spec with all its variants, or of one of them.
pub fn compile_all(
    path: &Path,
    variant: &Variant,
    overrides: &[Override],
    context: &Context,
) -> Result<Compiled, Exit> {
    match variant.variant {
        Some(_) => compile_variant(path, variant, overrides, context),
        None => compile(path, Which::All, overrides, context),
    }
}

fn compile(path: &Path, which: Which<'_>, overrides: &[Override], context: &Context) -> Result<Compiled, Exit> {
    let text = read(path, context)?;
    let compiled = compile_text(path, &text, which, overrides);
    tell_all(&compiled, context)?;
    Ok(compiled)
}

/// Compiles `text` as what the spec at `path` says.
pub fn compile_text(path: &Path, text: &str, which: Which<'_>, overrides: &[Override]) -> Compiled {
    lmv_compiler::check(&Spec { name: &path.display().to_string(), text, files: &Disk, overrides, which })
}

fn no_variant(path: &Path, name: &str, variants: &[String]) -> Message {
    let message = Message::error(format!("there is no variant `{name}`")).about(path.display().to_string());
    let family = variants.iter().filter(|known| known.split_once('.').is_some_and(|(family, _)| family == name));
    let members: Vec<&str> = family.map(String::as_str).collect();
    match (nearest(name, variants.iter().map(String::as_str)).as_slice(), members.as_slice()) {
        (_, [first, .., last]) => message.help(format!("`{name}` is a family: pick one of `{first}` to `{last}`")),
        ([], _) if variants.is_empty() => message.note("it has no variants"),
        ([], _) => {
            let shown = variants.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("`, `");
            let more = if variants.len() > 12 { format!(" and {} more", variants.len() - 12) } else { String::new() };
            message.note(format!("it has `{shown}`{more}"))
        }
        (near, _) => message.help(format!("did you mean `{}`?", near[..near.len().min(3)].join("`, `"))),
    }
}

/// What a run was made with, where `checkpoint` is the folder of one: its variant and what was set, unless something
/// else is said.
pub fn of_run(checkpoint: Option<&Path>, variant: &Variant, set: &[Override]) -> (Variant, Vec<Override>) {
    let Some(Ok(lock)) = checkpoint.map(Lock::read) else { return (variant.clone(), set.to_vec()) };
    let variant = match variant.variant {
        None => Variant { variant: lock.variant, of_run: checkpoint.map(Path::to_path_buf) },
        Some(_) => variant.clone(),
    };
    (variant, if set.is_empty() { lock.set } else { set.to_vec() })
}

/// The files that specs import, on the disk.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<String, Unreadable> {
        let bytes = bytes(Path::new(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Unreadable::Missing,
            ErrorKind::IsADirectory => Unreadable::Wrong("is a folder, and an import is a file".into()),
            _ => Unreadable::Wrong(format!("cannot be read: {error}")),
        })?;
        if bytes.len() as u64 > LARGEST {
            return Err(Unreadable::Wrong("is too large to be a spec: at most 4 MiB are read".into()));
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(text),
            Ok(_) => Err(Unreadable::Wrong("is not text: it has zero bytes".into())),
            Err(_) => Err(Unreadable::Wrong("is not UTF-8 text".into())),
        }
    }

    fn beside(&self, path: &str) -> Vec<String> {
        let folder = match Path::new(path).parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        specs_in(folder)
    }
}

/// The names of the specs in a folder.
fn specs_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".lmv"))
        .collect();
    names.sort();
    names
}

/// Tells the diagnostics of a compilation, and its warnings: of those one of a kind at a place, however often a command
/// compiles a spec and its variants.
pub fn tell_all(compiled: &Compiled, context: &Context) -> Result<(), Exit> {
    let sources = &compiled.sources;
    let new = |warning: &&Diagnostic| {
        let place = warning.labels.first().map(|label| sources.position(label.origin));
        context.is_new(&format!("{} {}", warning.code.as_str(), place.unwrap_or_default()))
    };
    let told = compiled.diagnostics.iter().chain(compiled.warnings.iter().filter(new));
    told.into_iter().try_for_each(|diagnostic| tell(diagnostic, sources, context))
}

/// How a command ends that a compilation without a result ends.
pub fn verdict(compiled: &Compiled) -> Exit {
    // What is wrong with the value of a `--set` alone is wrong with the command line.
    let outside = |diagnostic: &Diagnostic| {
        diagnostic
            .labels
            .first()
            .is_some_and(|label| compiled.sources.get(label.origin.file).name.starts_with("--set "))
    };
    match compiled.diagnostics.is_empty() || !compiled.diagnostics.iter().all(outside) {
        true => Exit::WrongSpec,
        false => Exit::WrongCommand,
    }
}

/// The text of the spec at `path`.
pub fn read(path: &Path, context: &Context) -> Result<String, Exit> {
    let shown = path.display().to_string();
    let bytes = match bytes(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = match error.kind() {
                ErrorKind::NotFound => {
                    let message = Message::error(format!("there is no file `{shown}`"));
                    match nearest_spec(path) {
                        Some(near) => message.help(format!("did you mean `{near}`?")),
                        None => message.help("`lmvc new NAME` writes a spec to start from"),
                    }
                }
                ErrorKind::IsADirectory => Message::error(format!("`{shown}` is a folder, and a spec is a file"))
                    .help(format!("for every spec in it: `{}`", path.join("*.lmv").display())),
                _ => {
                    context.tell(&Message::error(format!("the spec cannot be read: {error}")).about(shown));
                    return Err(Exit::Failed);
                }
            };
            return Err(context.wrong_command(&message));
        }
    };
    if bytes.len() as u64 > LARGEST {
        let what = "this file is too large to be a spec";
        return Err(wrong_text(&shown, "", Code::TooLarge, what, "a spec has at most 4 MiB", context));
    }
    if bytes.contains(&0) {
        let (what, label) = ("this file is not text", "a spec is text, and this file has zero bytes");
        return Err(wrong_text(&shown, "", Code::Syntax, what, label, context));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (upto, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let byte = bytes.get(upto).copied().unwrap_or_default();
        // The line up to the byte is shown; control characters must not reach the terminal.
        let before: String = String::from_utf8_lossy(&bytes[..upto])
            .chars()
            .map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c })
            .collect();
        let label = format!("the byte 0x{byte:02x} here is not UTF-8; save the file as UTF-8");
        wrong_text(&shown, &before, Code::Syntax, "this file is not UTF-8 text", &label, context)
    })
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    // Not by the size that the file tells: a device tells none and never ends.
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A diagnostic at the end of `before`, the part of the file that can be shown.
fn wrong_text(name: &str, before: &str, code: Code, what: &str, label: &str, context: &Context) -> Exit {
    let mut sources = Sources::default();
    let file = sources.add(Source { name: name.to_owned(), text: Arc::from(before), library: false });
    let at = Origin { file, span: Span::new(before.len(), before.len()) };
    match tell(&Diagnostic::error(code, what, at, label), &sources, context) {
        Ok(()) => Exit::WrongSpec,
        Err(exit) => exit,
    }
}

fn tell(diagnostic: &Diagnostic, sources: &Sources, context: &Context) -> Result<(), Exit> {
    match context.message_format {
        MessageFormat::Human => {
            to_stderr(&format!("{}\n", diagnostic.render(sources, context.stderr_color)));
            Ok(())
        }
        MessageFormat::Json => context.print(&format!("{}\n", diagnostic.to_json(sources))),
    }
}

/// The spec beside a path that does not exist whose name is nearest to it.
fn nearest_spec(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?.to_owned();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // By what stands before `.lmv`, which all have.
    let stem = |name: &str| name.strip_suffix(".lmv").unwrap_or(name).to_owned();
    let names: Vec<String> = specs_in(folder).iter().map(|name| stem(name)).collect();
    let near = nearest(&stem(&wanted), names.iter().map(String::as_str)).into_iter().next()?;
    Some(path.with_file_name(format!("{near}.lmv")).display().to_string())
}

/// The known names that are near to `name`, the nearest first.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let mut near: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(near, _)| *near > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

fn parse_override(text: &str) -> Result<Override, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write NAME=VALUE, for example train.lr=1e-4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_from_outside_is_split_at_its_first_equals_sign() {
        assert_eq!(parse_override("train.lr=1e-4"), Ok(("train.lr".into(), "1e-4".into())));
        assert_eq!(parse_override("train.loss = f(a = 1)"), Ok(("train.loss".into(), "f(a = 1)".into())));
        assert!(parse_override("train.lr").is_err());
        assert!(parse_override("=1").is_err());
        assert!(parse_override("train.lr=").is_err());
    }

    #[test]
    fn the_nearest_name_comes_first() {
        let known = ["vit_smally", "vit_small", "linear"];
        assert_eq!(nearest("vit_smal", known), ["vit_small", "vit_smally"]);
        assert!(nearest("xyz", known).is_empty());
    }
}
