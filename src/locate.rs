//! `--path NAME=DIR` and `--weights NAME=DIR`: where a spec's names lead on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use lmv_compiler::Experiment;
use lmv_compiler::config::Config as Setting;
use lmv_compiler::graph::Filling;
use lmv_runtime::places::Places;
use lmv_runtime::weights::Locations;

use crate::config::Config;
use crate::context::{Context, Exit, Message};
use crate::spec::{Checked, nearest};

/// `--weights`.
#[derive(Args, Clone, Debug, Default)]
pub struct LocateWeights {
    /// Where weights are: `llama7b=DIR`; may be repeated. Goes before LMV_WEIGHTS_LLAMA7B and [weights] of lmv.toml
    #[arg(long, value_name = "NAME=DIR", value_parser = parse_pair)]
    pub weights: Vec<(String, PathBuf)>,
}

/// `--path` and `--weights`.
#[derive(Args, Clone, Debug, Default)]
pub struct Locate {
    /// Where data is: `imagenet=DIR`; may be repeated. Goes before LMV_PATH_IMAGENET and [paths] of lmv.toml
    #[arg(long, value_name = "NAME=DIR", value_parser = parse_pair)]
    pub path: Vec<(String, PathBuf)>,
    /// `--weights`.
    #[command(flatten)]
    pub weights: LocateWeights,
}

impl Locate {
    /// What the command line, the environment and the `lmv.toml` beside the spec or above it say together, and the spec with
    /// what lies beside its weights. A name on the command line that the spec does not have is told.
    pub fn places(&self, spec: Checked, context: &Context) -> Result<(Checked, Places), Exit> {
        let experiment = &spec.experiment;
        let config = Config::beside(&spec.path, context)?;
        let mut places = Places::from_environment();
        if let Some(Config { file, paths, weights }) = config {
            let table =
                |table: BTreeMap<String, String>| table.into_iter().map(|(name, at)| (name, at.into())).collect();
            places.paths = places.paths.with_toml(file.clone(), table(paths));
            places.weights = places.weights.with_toml(file, table(weights));
        }
        let flags = |places: Locations, given: &[(String, PathBuf)]| {
            given.iter().fold(places, |places, (name, at)| places.with_flag(name, at))
        };
        places.paths = flags(places.paths, &self.path);
        places.weights = flags(places.weights, &self.weights.weights);
        tell_strangers(&places.paths, &self.path, &data_names(experiment), context);
        tell_strangers(&places.weights, &self.weights.weights, &weight_names(experiment), context);
        Ok((spec.with_weights(&places, context)?, places))
    }
}

impl LocateWeights {
    /// The same for a command that reads no data.
    pub fn places(&self, spec: Checked, context: &Context) -> Result<(Checked, Places), Exit> {
        Locate { path: Vec::new(), weights: self.clone() }.places(spec, context)
    }
}

/// The names of data that a spec has: `path("imagenet")`.
pub fn data_names(experiment: &Experiment) -> BTreeSet<&str> {
    let calls = experiment.data.iter().chain(experiment.eval.iter().map(|metric| &metric.call));
    let arguments = calls.flat_map(|call| call.arguments.values());
    arguments
        .filter_map(|argument| match argument {
            Setting::Path(name) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

/// The names of weights that fill something in a spec: `llama7b`, `pretrained("name", …)`.
pub fn weight_names(experiment: &Experiment) -> BTreeSet<&str> {
    let fillings = experiment.graph.parameters.iter().filter_map(|parameter| parameter.filled_by.as_ref());
    fillings
        .map(|filling| match filling {
            Filling::Block { weights, .. } | Filling::Named { weights, .. } => weights.as_str(),
        })
        .collect()
}

/// Warns of names on the command line that the spec does not have: such a flag does nothing.
fn tell_strangers(places: &Locations, given: &[(String, PathBuf)], known: &BTreeSet<&str>, context: &Context) {
    let flag = places.kind().flag();
    for (name, place) in given.iter().filter(|(name, _)| !known.contains(name.as_str())) {
        let message = Message::warning(format!("`{flag} {name}=…` is for nothing in this spec"));
        let message = match nearest(name, known.iter().copied()).first() {
            // Nothing says where that one is: the failure that follows names both.
            Some(near) if places.source(near).is_none() => continue,
            Some(near) => message.help(format!("did you mean `{flag} {near}={}`?", place.display())),
            None if known.is_empty() => message.note(format!("it has no name that {flag} could place")),
            None => {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                message.note(format!("{flag} places {} there", known.join(", ")))
            }
        };
        context.tell(&message);
    }
}

fn parse_pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => Ok((name.to_owned(), PathBuf::from(place))),
        _ => Err("write NAME=DIR, for example imagenet=/data/imagenet".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_name_and_a_place() {
        assert_eq!(parse_pair("a=/b=c"), Ok(("a".into(), PathBuf::from("/b=c"))));
        assert!(parse_pair("a").is_err());
        assert!(parse_pair("a=").is_err());
        assert!(parse_pair("=b").is_err());
    }
}
