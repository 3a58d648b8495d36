//! What becomes of a dataset's samples on the way to the model. The declaration of a dataset says what its samples are
//! (`pixels -> { image : … }`), that of each augmentation what it takes and gives (`pixels -> numbers`), and a recipe's list
//! of them must hold together.

use lmv_grammar::ast::{Type, TypeKind};

use crate::codes::Code;
use crate::config::{Call, Config};
use crate::diagnostic::Diagnostic;
use crate::elaborate::Elaborator;
use crate::library;
use crate::source::Origin;
use crate::value::{Definition, Value};

/// What the model sees without a step for it: images are normalised before a step that takes numbers, and at the end.
const BECOMES: (&str, &str) = ("pixels", "numbers");

/// A step of a list, and its place.
struct Step {
    name: String,
    takes: String,
    gives: String,
    at: Origin,
}

/// What the samples are at some place of a list, and since where.
struct Samples {
    are: String,
    since: Option<Since>,
}

struct Since {
    /// The step or the dataset.
    name: String,
    at: Origin,
    /// `gives` or `has`.
    verb: &'static str,
}

/// Where the parts of a list were written, as far as it is one: what is settled of it knows no places.
pub(crate) fn places(value: &Value, whole: Origin) -> Vec<Origin> {
    match value {
        Value::List(items) => items.iter().map(|(_, at)| *at).collect(),
        _ => vec![whole],
    }
}

fn fits(are: &str, takes: &str) -> bool {
    are == takes || (are, takes) == BECOMES
}

/// What a declaration takes and gives, where it says both by name.
fn takes_and_gives(definition: &Definition) -> Option<(&str, &str)> {
    let signature = definition.signature()?;
    Some((named(signature.input.as_ref()?)?, named(&signature.output)?))
}

fn named(ty: &Type) -> Option<&str> {
    match &ty.kind {
        TypeKind::Named(name, _) => Some(&name.text),
        _ => None,
    }
}

impl Elaborator<'_> {
    /// Whether a list of augmentations, or a way of seeing a sample, suits the data and holds together; the first step
    /// that does not is reported. `places` has the place of each step, or one for all of them.
    pub(crate) fn check_steps(&mut self, steps: &Config, places: &[Origin]) -> bool {
        let calls: Vec<&Call> = match steps {
            Config::List(items) => items.iter().filter_map(call).collect(),
            one => call(one).into_iter().collect(),
        };
        let Some(mut samples) = self.samples_of_the_data() else {
            return self.nothing_to_augment(calls.first().copied(), places);
        };
        let mut passed: Vec<(Step, String)> = Vec::new();
        for (index, call) in calls.into_iter().enumerate() {
            let Some(at) = places.get(index).or(places.first()).copied() else { return true };
            let Some(definition) = self.extern_of(call) else { return true };
            let Some((takes, gives)) = takes_and_gives(&definition) else { return true };
            let step = Step { name: call.name.clone(), takes: takes.to_owned(), gives: gives.to_owned(), at };
            if samples.since.is_none() && samples.are.is_empty() {
                samples.are = step.takes.clone();
                samples.since = Some(Since { name: step.name.clone(), at, verb: "takes" });
            }
            if !fits(&samples.are, &step.takes) {
                self.does_not_fit(&step, &samples, &passed);
                return false;
            }
            let before = samples.are.clone();
            if samples.are != step.gives {
                samples = Samples {
                    are: step.gives.clone(),
                    since: Some(Since { name: step.name.clone(), at, verb: "gives" }),
                };
            }
            passed.push((step, before));
        }
        true
    }

    /// What the data's samples are; nothing is known without data. `None` is data of which nothing is augmented.
    fn samples_of_the_data(&self) -> Option<Samples> {
        let Some(data) = &self.data else { return Some(Samples { are: String::new(), since: None }) };
        let definition = self.extern_of(&data.call)?;
        let are = named(definition.signature()?.input.as_ref()?)?.to_owned();
        let since = Since { name: data.call.name.clone(), at: data.origin, verb: "has" };
        Some(Samples { are, since: Some(since) })
    }

    fn nothing_to_augment(&mut self, step: Option<&Call>, places: &[Origin]) -> bool {
        let (Some(step), Some(at), Some(data)) = (step, places.first(), self.data.clone()) else { return true };
        let Some(definition) = self.extern_of(step) else { return true };
        let takes = takes_and_gives(&definition).map_or("samples of another kind", |(takes, _)| takes);
        self.report(
            Diagnostic::error(
                Code::Samples,
                format!("`{}` takes {takes}, and the data has none", step.name),
                *at,
                format!("takes {takes}"),
            )
            .also(data.origin, format!("`{}` has nothing that augmentations change", data.call.name))
            .help("leave the list out"),
        );
        false
    }

    fn does_not_fit(&mut self, step: &Step, samples: &Samples, passed: &[(Step, String)]) {
        let Step { name, takes, .. } = step;
        let message = format!("`{name}` takes {takes}, and is given {}", samples.are);
        let mut diagnostic = Diagnostic::error(Code::Samples, message, step.at, format!("takes {takes}"));
        if let Some(since) = &samples.since
            && since.at != step.at
        {
            diagnostic = diagnostic.also(since.at, format!("`{}` {} {}", since.name, since.verb, samples.are));
        }
        // A place further up where it would fit, and what stands there would still be given what it takes.
        let earlier = passed.iter().rposition(|(there, are)| fits(are, takes) && fits(&step.gives, &there.takes));
        let twice = samples.since.as_ref().is_some_and(|since| since.name == *name);
        diagnostic = match earlier.map(|at| &passed[at..]) {
            _ if twice => diagnostic.help(format!("one `{name}` is enough: leave the other out")),
            Some(behind) => {
                let help = format!("put `{name}` in front of `{}`", behind[0].0.name);
                let whole = Origin { file: step.at.file, span: behind[0].0.at.span.to(step.at.span) };
                let in_a_row = behind.windows(2).all(|two| two[0].0.at.span.end <= two[1].0.at.span.start)
                    && behind.iter().all(|(there, _)| there.at.file == step.at.file)
                    && behind.iter().all(|(there, _)| there.at.span.end <= step.at.span.start);
                match in_a_row && !self.sources.get(step.at.file).library {
                    true => {
                        let texts: Vec<&str> = std::iter::once(step.at)
                            .chain(behind.iter().map(|(there, _)| there.at))
                            .map(|at| self.sources.text(at))
                            .collect();
                        diagnostic.replace(help, whole, texts.join(", "))
                    }
                    false => diagnostic.help(help),
                }
            }
            None => self.what_would_fit(step, samples, diagnostic),
        };
        self.report(diagnostic);
    }

    /// Parts of the library that make of the samples what the step takes, or that take them as they are.
    fn what_would_fit(&self, step: &Step, samples: &Samples, diagnostic: Diagnostic) -> Diagnostic {
        let like_it = |takes: &str, gives: Option<&str>| -> Vec<String> {
            let names = library::declared_with("augment").into_iter();
            names
                .filter(|(_, signature)| signature.input.as_ref().and_then(named) == Some(takes))
                .filter(|(_, signature)| gives.is_none_or(|gives| named(&signature.output) == Some(gives)))
                .map(|(name, _)| name)
                .collect()
        };
        let between = like_it(&samples.are, Some(&step.takes));
        if let [first, ..] = between.as_slice() {
            let (takes, are) = (&step.takes, &samples.are);
            return diagnostic.help(format!("put `{first}` in front of it, which makes {takes} of {are}"));
        }
        match like_it(&samples.are, None).as_slice() {
            [] => diagnostic,
            names => diagnostic.help(format!("{} are changed by {}", samples.are, library::in_words(names))),
        }
    }
}

fn call(config: &Config) -> Option<&Call> {
    match config {
        Config::Call(call) => Some(call),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lmv_grammar::ast::ItemKind;

    use super::*;

    /// What each declaration of these kinds takes and gives.
    fn declared(kinds: &[&str]) -> Vec<(String, String, String)> {
        let items = library::modules().iter().flat_map(|module| &module.tree().items);
        let told = items.filter_map(|item| match &item.kind {
            ItemKind::Extern { kind, name, signature, .. } if kinds.contains(&kind.text.as_str()) => {
                let both = signature.as_ref().and_then(|s| Some((named(s.input.as_ref()?)?, named(&s.output)?)));
                let (takes, gives) = both.unwrap_or_else(|| panic!("`{}` does not say what it takes", name.text));
                Some((name.text.clone(), takes.to_owned(), gives.to_owned()))
            }
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn whatever_an_augmentation_takes_some_data_or_another_one_gives() {
        let steps = declared(&["augment", "operation"]);
        assert!(steps.len() > 30, "{} augmentations", steps.len());
        let of_data = library::declared_with("dataset").into_iter().filter_map(|(_, s)| named(s.input.as_ref()?));
        let has: BTreeSet<&str> = of_data.chain(steps.iter().map(|(_, _, gives)| gives.as_str())).collect();
        for (name, takes, _) in steps.iter().chain(&declared(&["views"])) {
            assert!(has.contains(takes.as_str()), "`{name}` takes {takes}, which nothing gives");
        }
    }
}
