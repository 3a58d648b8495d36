//! Parts of a spec that the library declares and that Rust does not run yet: an `extern` with `not_yet_run` in its braces.
//! Such a spec can be checked and shown; who would run it is told which parts stand in the way, and where they are.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use serde::Serialize;

use crate::config::{Call, Config};
use crate::graph::{Filling, Graph};
use crate::library;
use crate::measures::Measure;
use crate::recipe::Recipe;
use crate::source::{Origin, Sources};
use crate::value::Data;

/// A part of a spec whose Rust is not written yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredOnly {
    /// `layer`, `metric`, `augment`, …
    pub kind: String,
    /// Its name in the library.
    pub name: String,
    /// What of the spec needs it: `model`, `data`, `eval`, or a field of the recipe as `train.augment`.
    pub setting: String,
    /// Where it stands: `specs/cifar10/vit.lmv:4:9`, in the order of the model.
    pub places: Vec<String>,
}

/// A checked spec's settings, each with its place.
pub(crate) struct Settings<'s> {
    pub graph: &'s Graph,
    pub data: Option<&'s Rc<Data>>,
    pub train: Option<&'s (Recipe, Origin)>,
    pub eval: &'s [Measure],
}

/// The parts of a spec that cannot run yet.
pub(crate) fn declared_only(settings: &Settings<'_>, sources: &Sources) -> Vec<DeclaredOnly> {
    among(&library::not_yet_run_so_far(), settings, sources)
}

/// The parts of a spec that are among `unwritten`, which holds kinds with names.
fn among(unwritten: &BTreeSet<(String, String)>, settings: &Settings<'_>, sources: &Sources) -> Vec<DeclaredOnly> {
    if unwritten.is_empty() {
        return Vec::new();
    }
    let names = unwritten.iter().map(|(_, name)| name.as_str()).collect();
    let mut search = Search { unwritten, names, found: Vec::new() };
    for node in &settings.graph.nodes {
        search.part("layer", &node.layer, "model", node.origin);
    }
    for parameter in &settings.graph.parameters {
        search.value(&parameter.init, "model", parameter.origin);
        if let Some(Filling::Block { llm, .. }) = &parameter.filled_by {
            search.part("llm", &llm.family, "model", parameter.origin);
        }
    }
    if let Some(data) = settings.data {
        search.call(&data.call, "data", data.origin);
    }
    if let Some((recipe, at)) = settings.train {
        recipe.fields.iter().for_each(|(field, value)| search.value(value, &format!("train.{field}"), *at));
    }
    settings.eval.iter().for_each(|measure| search.call(&measure.call, "eval", measure.at));
    let found = search.found.into_iter();
    found
        .map(|Found { kind, name, setting, origins }| {
            let places = origins.into_iter().map(|origin| sources.position(origin)).collect();
            DeclaredOnly { kind, name, setting, places }
        })
        .collect()
}

struct Found {
    kind: String,
    name: String,
    setting: String,
    origins: Vec<Origin>,
}

struct Search<'u> {
    unwritten: &'u BTreeSet<(String, String)>,
    /// Their names alone, which nearly every part of a model is not among.
    names: HashSet<&'u str>,
    found: Vec<Found>,
}

impl Search<'_> {
    fn part(&mut self, kind: &str, name: &str, setting: &str, origin: Origin) {
        if !self.names.contains(name) || !self.unwritten.iter().any(|(k, n)| k == kind && n == name) {
            return;
        }
        let known = self.found.iter_mut().find(|f| f.kind == kind && f.name == name && f.setting == setting);
        match known {
            // The layers of a `repeat` stand at one place.
            Some(found) if found.origins.contains(&origin) => {}
            Some(found) => found.origins.push(origin),
            None => self.found.push(Found {
                kind: kind.to_owned(),
                name: name.to_owned(),
                setting: setting.to_owned(),
                origins: vec![origin],
            }),
        }
    }

    fn call(&mut self, call: &Call, setting: &str, origin: Origin) {
        self.part(&call.kind, &call.name, setting, origin);
        call.arguments.values().chain(call.with.values()).for_each(|value| self.value(value, setting, origin));
    }

    fn value(&mut self, value: &Config, setting: &str, origin: Origin) {
        match value {
            Config::Call(call) => self.call(call, setting, origin),
            Config::List(items) | Config::Sum(items) => {
                items.iter().for_each(|item| self.value(item, setting, origin));
            }
            Config::Record(fields) => fields.values().for_each(|field| self.value(field, setting, origin)),
            Config::Scaled(_, part) => self.value(part, setting, origin),
            Config::Either(a, b) => {
                self.value(a, setting, origin);
                self.value(b, setting, origin);
            }
            Config::Int(_)
            | Config::Float(_)
            | Config::Bool(_)
            | Config::Str(_)
            | Config::Path(_)
            | Config::Unknown(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;

    /// The parts of a graph that are found where `unwritten` are not written, as lines.
    fn found(text: &str, unwritten: &[(&str, &str)]) -> Vec<String> {
        let compiled = compile("a.lmv", text, &[]);
        let experiment = compiled.experiment.as_ref().expect("a right spec");
        let unwritten = unwritten.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
        let at = |word: &str| {
            let start = text.find(word).expect("the word is there");
            Origin { file: compiled.file, span: lmv_grammar::ast::Span::new(start, start + word.len()) }
        };
        let train = experiment.train.clone().map(|recipe| (recipe, at("deit")));
        let measure = |metric: &crate::metrics::Metric| {
            let (label, call) = (metric.label.clone(), metric.call.clone());
            Measure { label, at: at(&call.name), call, output: None }
        };
        let eval: Vec<Measure> = experiment.eval.iter().map(measure).collect();
        let settings = Settings { graph: &experiment.graph, data: None, train: train.as_ref(), eval: &eval };
        let found = among(&unwritten, &settings, &compiled.sources);
        found
            .into_iter()
            .map(|part| format!("{} {} {} {:?}", part.kind, part.name, part.setting, part.places))
            .collect()
    }

    #[test]
    fn a_layer_is_found_once_with_the_places_that_led_to_it() {
        let text = "model(x : [4]) {\n  let y = x >> repeat(3) { gelu }\n  y >> gelu\n}";
        assert_eq!(found(text, &[("layer", "gelu")]), ["layer gelu model [\"a.lmv:2:28\", \"a.lmv:3:8\"]"]);
    }

    #[test]
    fn parts_of_the_recipe_are_found_with_their_field() {
        let text = "model = vit_small >> head\ndata = imagenet\ntrain = deit\neval = [top1]";
        let unwritten = [("mix", "cutmix"), ("group", "rank"), ("metric", "top1"), ("metric", "top5")];
        assert_eq!(
            found(text, &unwritten),
            [
                "mix cutmix train.mix [\"a.lmv:3:9\"]",
                "group rank train.optimizer [\"a.lmv:3:9\"]",
                "metric top1 eval [\"a.lmv:4:9\"]"
            ]
        );
    }

    #[test]
    fn the_start_of_parameters_and_the_family_of_a_language_model_are_parts_too() {
        let text = "model(x : [T?, 4096]) { x >> frozen(llama7b.layer[31]) >> linear(4096, 2) }";
        let unwritten = [("init", "trunc_normal"), ("llm", "llama")];
        assert_eq!(
            found(text, &unwritten),
            ["llm llama model [\"a.lmv:1:30\"]", "init trunc_normal model [\"a.lmv:1:59\"]"]
        );
    }

    #[test]
    fn where_nothing_is_unwritten_nothing_is_searched() {
        assert!(found("model(x : [4]) { x >> gelu }", &[]).is_empty());
    }
}
