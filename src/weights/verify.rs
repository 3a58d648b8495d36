//! `lmvc weights verify SPEC`

use std::path::PathBuf;

use lmv_runtime::error::Failure;
use lmv_runtime::proof::{Change, Proof};
use serde_json::json;

use crate::context::{Context, Exit, MessageFormat, Paint};
use crate::locate::LocateWeights;
use crate::proof;
use crate::spec::{self, Variant};
use crate::units::counted;

/// Hash the tensors that a spec takes, and hold them against its lock
///
/// Prints what has changed, a line a tensor, and ends by exit code 3 where anything has. The lock is NAME.lock beside the
/// spec; `lmvc weights lock` writes it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    #[command(flatten)]
    weights: LocateWeights,
}

/// Prints the differences.
pub fn verify(args: &Args, context: &Context) -> Result<(), Exit> {
    let spec = spec::checked(&args.spec, &args.variant, &[], context)?;
    let (spec, places) = args.weights.places(spec, context)?;
    let path = Proof::path(&args.spec, args.variant.variant.as_deref());
    let failed = |failure: Failure| context.failed(&failure);
    let Some(lock) = Proof::read(&path).map_err(failed)? else {
        return Err(failed(proof::no_lock(&path, &args.spec, args.variant.variant.as_deref())));
    };
    let now = proof::of_weights(&spec, &places, |_| true).map_err(failed)?;
    let changes: Vec<Change> = lock.changes(&now, true).into_iter().filter(|change| change.weights.is_some()).collect();
    if context.message_format == MessageFormat::Json {
        for (weights, tensors) in &now.weights {
            for (tensor, found) in tensors {
                let locked = lock.weights.get(weights).and_then(|locked| locked.get(tensor));
                let object = json!({
                    "weights": weights, "tensor": tensor, "locked": locked, "found": found,
                    "same": locked == Some(found),
                });
                context.print(&format!("{object}\n"))?;
            }
        }
        for change in changes.iter().filter(|change| change.found.is_none()) {
            let object = json!({
                "weights": change.weights, "tensor": change.what, "locked": change.locked, "found": null, "same": false,
            });
            context.print(&format!("{object}\n"))?;
        }
    } else {
        for (weights, tensors) in &now.weights {
            let of_it = |change: &&Change| change.weights.as_ref() == Some(weights);
            let is_tensor = |change: &&Change| !lock.settings.contains_key(&format!("{weights}.{}", change.what));
            let different = changes.iter().filter(of_it).filter(is_tensor).count();
            let name = Paint::Strong.on(weights, context.stdout_color);
            let of = counted(tensors.len(), "tensor", "tensors");
            context.print(&match different {
                0 => format!("{name}: {of} as {} has them\n", path.display()),
                n => format!("{name}: {} from {}\n", counted(n, "tensor differs", "tensors differ"), path.display()),
            })?;
        }
        for change in &changes {
            context.print(&format!("  {}\n", change.line()))?;
        }
        if now.weights.is_empty() && changes.is_empty() {
            context.remark("this spec reads no weights");
        }
    }
    if changes.is_empty() { Ok(()) } else { Err(Exit::Failed) }
}
