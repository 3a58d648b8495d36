//! `lmvc weights lock SPEC`

use std::path::{Path, PathBuf};

use lmv_runtime::proof::{Change, Proof};
use lmv_runtime::tasks::Opening;
use serde_json::json;

use crate::context::{Context, Exit};
use crate::locate::{self, Locate};
use crate::proof;
use crate::spec::{self, Variant};
use crate::units::counted;

/// Write the lock of a spec: hashes of the tensors it takes, of its data's listing, and of the library
///
/// The lock is NAME.lock beside the spec NAME.lmv, and goes into version control with it. `train`, `eval` and `infer` hold
/// what they read against it; with --locked they refuse anything else.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    #[command(flatten)]
    locate: Locate,
}

/// Writes it, and says what is another than it was.
pub fn lock(args: &Args, context: &Context) -> Result<(), Exit> {
    let spec = spec::checked(&args.spec, &args.variant, &[], context)?;
    let (spec, places) = args.locate.places(spec, context)?;
    let path = Proof::path(&args.spec, args.variant.variant.as_deref());
    let failed = |failure| context.failed(&failure);
    // A lock that is damaged is what is to be replaced.
    let before = Proof::read(&path).unwrap_or_default();
    let mut now = proof::of_weights(&spec, &places, |_| true).map_err(failed)?;
    let names = locate::data_names(&spec.experiment);
    let missing: Vec<&str> = names.iter().copied().filter(|name| places.paths.source(name).is_none()).collect();
    match missing.as_slice() {
        [] => {
            let drawn = crate::train::drawn(Path::new(crate::train::RUNS));
            let opening = Opening { places: &places, drawn, seed: 0, threads: 1 };
            now.data = proof::of_data(&spec.experiment, &opening).map_err(failed)?;
        }
        [name, ..] => context.remark(&format!("the data is left out of it: nothing says where `{name}` is")),
    }
    now.write(&path).map_err(failed)?;
    let changes = before.map(|before| before.changes(&now, true)).unwrap_or_default();
    let tensors: usize = now.weights.values().map(|tensors| tensors.len()).sum();
    context.remark(&format!("{} holds the hashes of {}", path.display(), counted(tensors, "tensor", "tensors")));
    changes.iter().for_each(|change| context.remark(&format!("  {}", Change::line(change))));
    context.event("locked", json!({ "file": path.display().to_string(), "tensors": tensors, "changes": changes }));
    Ok(())
}
