//! `--path NAME=DIR` and `--weights NAME=DIR`: where a spec's names lead on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use lmv_runtime::places::Places;
use lmv_runtime::weights::Locations;

use crate::config::Config;
use crate::context::{Context, Exit};

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
    /// What the command line, the environment and the `lmv.toml` beside `spec` or above it say together.
    pub fn places(&self, spec: &Path, context: &Context) -> Result<Places, Exit> {
        let config = Config::beside(spec, context)?;
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
        Ok(places)
    }
}

impl LocateWeights {
    /// The same for a command that reads no data.
    pub fn places(&self, spec: &Path, context: &Context) -> Result<Places, Exit> {
        Locate { path: Vec::new(), weights: self.clone() }.places(spec, context)
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
