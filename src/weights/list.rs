//! `lmvc weights list SPEC`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lmv_runtime::error::Failure;
use lmv_runtime::parameters::used::{Use, UsedTensor, uses};
use lmv_runtime::places::Places;
use lmv_runtime::proof::Proof;
use lmv_runtime::weights::locate::Source;
use serde_json::{Value, json};

use super::{Named, on_disk};
use crate::context::{Context, Exit, MessageFormat, Paint};
use crate::spec;
use crate::units::{bytes, counted};

/// Tensors by our names, each as a lock has it: `F16 [8, 8] HASH`.
type Lines = BTreeMap<String, String>;

/// What is known of the weights of one name.
struct Row<'a> {
    used: Use<'a>,
    /// Where they are, and who says so.
    source: Option<(PathBuf, Source)>,
    found: Result<Found, Failure>,
    /// What the lock has of them.
    locked: Option<Lines>,
    /// Whether they are part of the program.
    built_in: bool,
}

/// Weights that are there and fit.
struct Found {
    tensors: Vec<UsedTensor>,
    hashes: Lines,
    size: u64,
    files_gone: usize,
}

impl Found {
    fn read(&self) -> u64 {
        self.tensors.iter().filter_map(|tensor| tensor.info.bytes()).sum::<usize>() as u64
    }

    fn dtypes(&self) -> BTreeSet<&str> {
        self.tensors.iter().map(|tensor| tensor.info.dtype.name()).collect()
    }
}

/// Prints a paragraph, or for programs an object, for each name.
pub fn list(args: &Named, context: &Context) -> Result<(), Exit> {
    let spec = spec::checked(&args.spec, &args.variant, &[], context)?;
    let (spec, places) = args.weights.places(spec, context)?;
    let lock_path = Proof::path(&args.spec, args.variant.variant.as_deref());
    let lock = Proof::read(&lock_path).map_err(|failure| context.failed(&failure))?;
    let uses = uses(&spec.experiment.graph, |_| true);
    if uses.is_empty() {
        context.remark("this spec reads no weights");
        if let (None, [first, ..]) = (&args.variant.variant, &spec.compiled.variants[..]) {
            context.remark(&format!("it has variants, which may: `--variant {first}`"));
        }
    }
    for used in uses {
        let locked = lock.as_ref().and_then(|lock| lock.weights.get(used.weights).cloned());
        let found = find(&used, &places);
        let built_in = places.weights.is_built_in(used.weights);
        let row = Row { source: places.weights.source(used.weights), used, found, locked, built_in };
        match context.message_format {
            MessageFormat::Human => context.print(&paragraph(&row, &lock_path.display().to_string(), context))?,
            MessageFormat::Json => context.print(&format!("{}\n", object(&row)))?,
        }
    }
    Ok(())
}

fn find(used: &Use<'_>, places: &Places) -> Result<Found, Failure> {
    let checkpoint = places.open_weights(used.weights)?;
    let (size, files_gone) = match places.weights.is_built_in(used.weights) {
        true => (0, 0),
        false => on_disk(&checkpoint),
    };
    let mut proof = Proof::of_lmvc(env!("CARGO_PKG_VERSION"));
    proof.add_weights(used, &checkpoint)?;
    let hashes = proof.weights.remove(used.weights).unwrap_or_default();
    Ok(Found { tensors: used.tensors(&checkpoint)?, hashes, size, files_gone })
}

fn paragraph(row: &Row<'_>, lock: &str, context: &Context) -> String {
    let color = context.stdout_color;
    let mut text = format!("{}: {}\n", Paint::Strong.on(row.used.weights, color), row.used.in_words());
    let mut line = |title: &str, what: &str| {
        text += &format!("  {}  {what}\n", Paint::Faint.on(&format!("{title:<6}"), color));
    };
    if let Some((place, source)) = &row.source {
        line("at", &format!("{}, by {source}", place.display()));
    }
    if row.built_in {
        line("at", "part of lmvc");
    }
    match &row.found {
        Ok(found) => {
            let dtypes: Vec<&str> = found.dtypes().into_iter().collect();
            let gone = match found.files_gone {
                0 => String::new(),
                gone => format!(", {} not there", counted(gone, "file is", "files are")),
            };
            let tensors = counted(found.tensors.len(), "tensor", "tensors");
            let read = format!("{tensors}, {}, {}", dtypes.join(" and "), bytes(found.read() as f64));
            line(
                "reads",
                &match row.built_in {
                    true => read,
                    false => format!("{read} of {} on disk{gone}", bytes(found.size as f64)),
                },
            );
        }
        Err(failure) => {
            let at = failure.path.as_ref().map_or(String::new(), |path| format!("{}: ", path.display()));
            line("wrong", &format!("{at}{}", failure.what));
            failure.notes.iter().for_each(|note| line("", note));
            failure.help.iter().for_each(|help| line("help", help));
        }
    }
    let found = row.found.as_ref().ok().map(|found| &found.hashes);
    line(
        "locked",
        &match (&row.locked, found) {
            (None, _) => "no".into(),
            (Some(locked), Some(found)) if locked == found => format!("as it is, in {lock}"),
            (Some(_), Some(_)) => format!("otherwise, in {lock}: `lmvc weights verify` says what differs"),
            (Some(locked), None) => format!("{lock} has the hashes of {}", counted(locked.len(), "tensor", "tensors")),
        },
    );
    let hashes = found.or(row.locked.as_ref());
    let title = if found.is_some() { "hashes" } else { "of it" };
    for (at, (name, hash)) in hashes.into_iter().flatten().take(HASHES).enumerate() {
        line(if at == 0 { title } else { "" }, &format!("{name}  {}", short(hash)));
    }
    let more = hashes.map_or(0, BTreeMap::len).saturating_sub(HASHES);
    if more > 0 {
        line("", &format!("and {more} more"));
    }
    text
}

/// How many hashes are shown.
const HASHES: usize = 16;

/// A line of a lock, `F16 [8, 8] HASH`, with as much of the hash as tells two apart.
fn short(line: &str) -> String {
    match line.rsplit_once(' ') {
        Some((before, hash)) => format!("{before} {}", hash.chars().take(12).collect::<String>()),
        None => line.to_owned(),
    }
}

fn object(row: &Row<'_>) -> Value {
    let by = row.source.as_ref().map(|(_, source)| match source {
        Source::Toml(_) => "lmv.toml",
        Source::Variable(_) => "environment",
        Source::Flag => "command line",
        Source::Cache(_) => "hugging face cache",
    });
    let found = row.found.as_ref().ok();
    json!({
        "weights": row.used.weights,
        "of": row.used.in_words(),
        "found": found.is_some(),
        "place": row.source.as_ref().map(|(place, _)| place.display().to_string()),
        "by": if row.built_in { Some("lmvc") } else { by },
        "tensors": found.map(|found| found.tensors.iter().map(|tensor| &tensor.theirs).collect::<Vec<_>>()),
        "dtypes": found.map(Found::dtypes),
        "bytes_read": found.map(Found::read),
        "bytes_on_disk": found.map(|found| found.size),
        "files_missing": found.map(|found| found.files_gone),
        "wrong": row.found.as_ref().err().map(|failure| failure.to_string()),
        "hashes": found.map(|found| &found.hashes),
        "locked": row.locked,
    })
}
