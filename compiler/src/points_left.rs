//! How many points of a cloud a recipe leaves: what is kept never grows again, so that a step which keeps fewer than the
//! model takes is a mistake for any data. By the library's convention an argument `count` of a step on `points` is how many
//! it keeps at most.

use std::collections::BTreeMap;

use crate::codes::Code;
use crate::config::{Call, Config};
use crate::diagnostic::Diagnostic;
use crate::elaborate::Elaborator;
use crate::source::Origin;
use crate::value::{Bound, Value};

/// The fields of a recipe that change samples.
const FIELDS: [&str; 3] = ["augment", "eval_augment", "views"];

/// Parameters of recipes that are never a number of points.
const OTHERS: [&str; 2] = ["epochs", "batch"];

/// A recipe with its arguments.
pub(crate) struct Given<'g> {
    pub name: &'g str,
    pub bound: &'g [Bound],
    pub fields: &'g BTreeMap<String, Config>,
    /// Where fields stand that are the user's own.
    pub places: &'g BTreeMap<String, Origin>,
    pub at: Origin,
}

impl Elaborator<'_> {
    /// Reports the first field that leaves fewer points than the data's samples have once augmented; whether there is none.
    pub(crate) fn check_points_left(&mut self, recipe: &Given<'_>) -> bool {
        let Some(data) = self.data.clone() else { return true };
        let points = data.fields.iter().find(|(name, _)| name == "points");
        let shape = points.and_then(|(_, ty)| ty.shape.numbers()).unwrap_or_default();
        let [wanted, 3] = shape[..] else { return true };
        for field in FIELDS {
            let steps = recipe.fields.get(field).map(calls).unwrap_or_default();
            let keeps = |call: &&Call| call.size("count").filter(|count| *count < wanted);
            let Some((step, left)) = steps.into_iter().find_map(|step| Some((step, keeps(&step)?))) else { continue };
            let is_it = |bound: &&Bound| {
                !OTHERS.contains(&&*bound.name)
                    && matches!(&bound.value, Value::Config(Config::Int(n)) if usize::try_from(*n) == Ok(left))
            };
            // In a field of the recipe's own the number came by an argument.
            let by = recipe.bound.iter().find(|bound| is_it(bound) && !recipe.places.contains_key(field));
            let at = recipe.places.get(field).copied().or(by.and_then(|bound| bound.written)).unwrap_or(recipe.at);
            let diagnostic = Diagnostic::error(
                Code::Samples,
                format!("`{field}` leaves {left} points of a cloud, and the model takes {wanted}"),
                at,
                format!("`{}` keeps {left}", step.name),
            )
            .also(data.origin, format!("clouds of {wanted} points"));
            self.report(diagnostic.help(match by {
                Some(Bound { name, .. }) => {
                    format!("`{}` needs `{name}` of {wanted} or more: `train.{name} = {wanted}`", recipe.name)
                }
                None => format!("let `{}` keep {wanted}: `count = {wanted}`", step.name),
            }));
            return false;
        }
        true
    }
}

fn calls(config: &Config) -> Vec<&Call> {
    match config {
        Config::Call(call) => vec![call],
        Config::List(items) => items.iter().flat_map(calls).collect(),
        _ => Vec::new(),
    }
}
