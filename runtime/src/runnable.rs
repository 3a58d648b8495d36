//! Whether a spec can run: every part that it needs has its Rust written. Asked before anything is opened.

use lmv_compiler::{DeclaredOnly, Experiment};

use crate::error::{Failure, Result};

/// What is to be done with a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Train it, which measures it too.
    Training,
    /// Measure it.
    Evaluation,
    /// Run its model on given tensors.
    Inference,
}

impl Purpose {
    fn needs(self, part: &DeclaredOnly) -> bool {
        match self {
            Self::Training => true,
            Self::Evaluation => {
                ["model", "data", "eval", "train.eval_augment", "train.views"].contains(&part.setting.as_str())
            }
            Self::Inference => part.setting == "model",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Training => "trained",
            Self::Evaluation => "evaluated",
            Self::Inference => "run",
        }
    }
}

/// Fails where the spec needs parts that the library declares and Rust does not run yet; names each with its places.
pub fn check(experiment: &Experiment, purpose: Purpose) -> Result<()> {
    let parts: Vec<&DeclaredOnly> = experiment.not_yet_run.iter().filter(|part| purpose.needs(part)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let what = match parts.len() {
        1 => "a part of it is".to_owned(),
        many => format!("{many} parts of it are"),
    };
    let failure = Failure::new(format!(
        "this spec cannot be {} yet: {what} declared, and not written in Rust",
        purpose.in_words()
    ));
    let failure = parts.into_iter().fold(failure, |failure, part| failure.note(line(part)));
    Err(failure.help("`lmvc check` and `lmvc show` work as ever; to run it, put parts in their place that run"))
}

fn line(part: &DeclaredOnly) -> String {
    let field = match part.setting.strip_prefix("train.") {
        Some(field) => format!(", as `{field}` of the recipe"),
        None => String::new(),
    };
    let (first, rest) = part.places.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    // Of one file, the further places need no name of it.
    let file = first.rsplitn(3, ':').last().unwrap_or_default();
    let rest: Vec<&str> = rest
        .iter()
        .map(|place| place.strip_prefix(file).map_or(place.as_str(), |at| at.trim_start_matches(':')))
        .collect();
    let places = [&[first][..], &rest[..]].concat().join(", ");
    format!("the {} `{}`{field}: {places}", part.kind, part.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &str, name: &str, setting: &str, places: &[&str]) -> DeclaredOnly {
        let places = places.iter().map(|place| (*place).to_owned()).collect();
        DeclaredOnly { kind: kind.into(), name: name.into(), setting: setting.into(), places }
    }

    fn spec() -> Experiment {
        let compiled = lmv_compiler::compile("a.lmv", "model(x : [4]) { x >> linear(4, 4) }", &[]);
        compiled.experiment.expect("a right spec")
    }

    #[test]
    fn a_spec_whose_parts_all_run_is_fine() {
        assert_eq!(check(&spec(), Purpose::Training), Ok(()));
    }

    #[test]
    fn each_purpose_is_stopped_by_what_it_needs() {
        let mut spec = spec();
        spec.not_yet_run = vec![
            part("augment", "blur", "train.augment", &["a.lmv:9:1"]),
            part("metric", "miss_rate", "eval", &["a.lmv:4:8"]),
        ];
        let notes = |purpose| check(&spec, purpose).map_err(|failure| failure.notes);
        assert_eq!(notes(Purpose::Inference), Ok(()));
        assert_eq!(notes(Purpose::Evaluation), Err(vec!["the metric `miss_rate`: a.lmv:4:8".to_owned()]));
        assert_eq!(notes(Purpose::Training).expect_err("two are missing").len(), 2);
    }

    #[test]
    fn a_part_is_named_with_all_its_places() {
        let mut spec = spec();
        spec.not_yet_run = vec![part("layer", "ball_query", "model", &["a.lmv:4:9", "a.lmv:7:12", "b.lmv:1:1"])];
        let failure = check(&spec, Purpose::Inference).expect_err("its layer is missing");
        assert_eq!(failure.what, "this spec cannot be run yet: a part of it is declared, and not written in Rust");
        assert_eq!(failure.notes, ["the layer `ball_query`: a.lmv:4:9, 7:12, b.lmv:1:1"]);
    }
}
