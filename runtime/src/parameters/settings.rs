//! What a model is made of that no shape of a weight tells, held against the configuration beside a checkpoint: heads, and
//! what norms add under the root.

use std::collections::BTreeMap;

use lmv_compiler::config::Config;
use lmv_compiler::graph::{Filling, Parameter};
use serde_json::Value;

use crate::error::{Failure, Result};
use crate::weights::{Checkpoint, check_counts};

/// What configurations call the heads of attention.
const HEADS: [&str; 4] = ["num_attention_heads", "n_heads", "n_head", "num_heads"];

/// What configurations call the eps of norms.
const EPS: [&str; 4] = ["layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps"];

/// Of the parts that one name of weights fills, what is the same in all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    heads: Option<i64>,
    eps: Option<f64>,
    /// Whether heads are turned by their positions.
    turned: bool,
}

impl Settings {
    /// Of the nodes (layer, path, arguments) of a model that stand where `pretrained(weights, …)` does.
    pub(super) fn of<'a>(
        nodes: impl Iterator<Item = (&'a str, &'a str, &'a BTreeMap<String, Config>)>,
        parameters: &[Parameter],
        weights: &str,
    ) -> Self {
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for parameter in parameters {
            let (local, to) = match &parameter.filled_by {
                Some(Filling::Named { weights: name, local }) if name == weights => (local, &mut mine),
                Some(Filling::Named { local, .. } | Filling::Block { local, .. }) => (local, &mut others),
                None => continue,
            };
            // The outermost layer that is filled: what stands beside it has nothing to do with the checkpoint.
            let base = parameter.path.len().saturating_sub(local.len());
            let layer = local.split_once('.').map_or(local.len(), |(layer, _)| layer.len() + 1);
            let part = parameter.path.get(..base + layer).unwrap_or(&parameter.path);
            if !to.contains(&part) {
                to.push(part);
            }
        }
        let (mut heads, mut eps) = (Vec::new(), Vec::new());
        let mut turned = false;
        for (layer, path, arguments) in nodes {
            let path = format!("{path}.");
            let within = |parts: &[&str]| parts.iter().any(|part| path.starts_with(part));
            if !within(&mine) || within(&others) {
                continue;
            }
            turned |= layer == "rotary";
            if let Some(count) = arguments.get("heads").and_then(Config::int) {
                heads.push(count);
            }
            if let (Some(value), true) =
                (arguments.get("eps").and_then(Config::float), layer.ends_with("_norm") && layer != "batch_norm")
            {
                eps.push(value);
            }
        }
        Self { heads: one(heads), eps: one(eps), turned }
    }

    /// Holds them against the configuration of a checkpoint, as far as it says them.
    ///
    /// # Errors
    /// When they disagree, or what it says cannot be; and where rows lie in an order that positions do not turn.
    pub(super) fn check(&self, checkpoint: &Checkpoint, weights: &str) -> Result<()> {
        if self.turned && checkpoint.is_meta() {
            return Err(Failure::at(
                checkpoint.path(),
                "has the rows of q and k in Meta's order, and `rotary` turns those of Hugging Face's",
            )
            .note("no shape of a tensor tells: the numbers would fit, and mean something else")
            .help(format!(
                "declare the model, `llm {weights} = llama(…)`, and use its blocks, `{weights}.layer[0](rope = true)`: their \
                 rows are put in order as they are read"
            )));
        }
        let (Some(config), Some(path)) = (checkpoint.config(), checkpoint.config_path()) else { return Ok(()) };
        check_counts(config, path)?;
        let said = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, config.get(*name).filter(|value| !value.is_null())?)))
        };
        let against = |what: &str, ours: String, theirs: &str, found: &Value| {
            let found: String = found.to_string().chars().flat_map(char::escape_debug).take(40).collect();
            Failure::at(path, format!("is of another model than the spec gives `{weights}` to"))
                .note(format!("the spec has {what} = {ours}, and {theirs} is {found} there"))
                .note("no shape of a tensor tells: the numbers would fit, and mean something else")
                .help(format!(
                    "give the checkpoint of this model with `--weights {weights}=PLACE`, or declare what this one has"
                ))
        };
        if let (Some(heads), Some((theirs, found))) = (self.heads, said(&HEADS))
            && found.as_i64() != Some(heads)
        {
            return Err(against("heads", heads.to_string(), theirs, found));
        }
        if let (Some(eps), Some((theirs, found))) = (self.eps, said(&EPS))
            && !found.as_f64().is_some_and(|found| (found - eps).abs() <= 1e-6 * eps.abs())
        {
            return Err(against("eps", format!("{eps:e}"), theirs, found));
        }
        Ok(())
    }
}

/// The value that all of them have.
fn one<T: Copy + PartialEq>(values: Vec<T>) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}
