//! `lmvc weights list|add|lock|verify`

mod add;
#[cfg(feature = "download")]
mod download;
mod list;
mod lock;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;
use lmv_runtime::weights::Checkpoint;

use crate::context::{Context, Exit};
use crate::locate::LocateWeights;
use crate::spec::Variant;
use crate::units::{bytes, counted};

/// Find, add, lock and verify the weights that a spec names
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    List(Named),
    Add(add::Args),
    Lock(lock::Args),
    Verify(verify::Args),
}

/// List what weights a spec needs, where they are, and how much of them is read
///
/// For each name: what the spec takes of it, who says where it is, the size of its files, the type and the bytes of what
/// is read, and whether the lock beside the spec has hashes of it. Headers are read, and no numbers.
#[derive(clap::Args, Debug)]
struct Named {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    #[command(flatten)]
    weights: LocateWeights,
}

/// Does what is asked.
pub fn run(args: &Args, context: &Context) -> Exit {
    match &args.command {
        Command::List(args) => list::list(args, context),
        Command::Add(args) => add::add(args, context),
        Command::Lock(args) => lock::lock(args, context),
        Command::Verify(args) => verify::verify(args, context),
    }
    .into()
}

/// The bytes of a checkpoint's files that are there, and how many are not.
fn on_disk(checkpoint: &Checkpoint) -> (u64, usize) {
    let sizes = checkpoint.files().map(|file| std::fs::metadata(file).map(|meta| meta.len()).ok());
    sizes.fold((0, 0), |(sum, gone), size| match size {
        Some(size) => (sum + size, gone),
        None => (sum, gone + 1),
    })
}

/// What a checkpoint is, in a line: `291 tensors in 2 files, F16, 12.6 GiB, a model of type llama`.
fn described(checkpoint: &Checkpoint) -> String {
    let (size, gone) = on_disk(checkpoint);
    let files = checkpoint.files().count();
    let dtypes: std::collections::BTreeSet<&str> =
        checkpoint.names().filter_map(|name| checkpoint.info(name)).map(|info| info.dtype.name()).collect();
    let mut text = format!(
        "{} in {}, {}, {}",
        counted(checkpoint.names().count(), "tensor", "tensors"),
        counted(files, "file", "files"),
        dtypes.into_iter().collect::<Vec<_>>().join(" and "),
        bytes(size as f64)
    );
    if gone > 0 {
        text += &format!(", {} not there", counted(gone, "file is", "files are"));
    }
    if checkpoint.is_meta() {
        text += ", in Meta's layout";
    }
    if let Some(kind) = checkpoint.config().and_then(|config| config.get("model_type")?.as_str()) {
        // Whatever stands in the file must not reach the terminal.
        text += &format!(", a model of type {}", kind.escape_debug());
    }
    text
}
