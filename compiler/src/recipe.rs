//! A recipe with its arguments, field by field: `train = deit(epochs = 100)`.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Expr, ItemKind};
use serde::Serialize;

use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Elaborator, Kind, Place};
use crate::library;
use crate::near::{is_name, meant};
use crate::points_left::Given;
use crate::samples;
use crate::settings::{Change, Setting};
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, EnvRef, Recipe as RecipeValue, Scope, Value};

/// A recipe with its parameters settled.
#[derive(Clone, Debug, Serialize)]
pub struct Recipe {
    /// Its name in the library.
    pub name: String,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch: usize,
    /// Its fields: `loss`, `optimizer`, …
    pub fields: BTreeMap<String, Config>,
    /// Where the fields stand that the user wrote: in a recipe of the user's own, or as `train.loss = …`.
    #[serde(skip)]
    pub(crate) places: BTreeMap<String, Origin>,
}

/// What a recipe may name, and the kind of part that each takes (`number`, `count` and `flag` are plain values, `[]` is a list of parts).
/// Each has its paragraph in `docs/words.md`.
const RECIPE_FIELDS: [(&str, &str); 13] = [
    ("loss", "loss"),
    ("optimizer", "optimizer"),
    ("schedule", "schedule"),
    ("augment", "[augment]"),
    ("eval_augment", "[augment]"),
    ("views", "views"),
    ("mix", "mix"),
    ("mix_groups", "count"),
    ("sampler", "sampler"),
    ("ema", "number"),
    ("clip", "clip"),
    ("batch_norm", "momentum"),
    ("amp", "flag"),
];

/// A field as it is written, before it is settled.
struct RecipeField<'f> {
    name: &'f str,
    value: &'f Expr,
    env: EnvRef,
    name_at: Origin,
}

impl Elaborator<'_> {
    /// The recipe that trains the model. `None` is a mistake that was reported.
    pub(crate) fn train(&mut self, train: &Setting<'_>, changes: &[Change<'_>]) -> Option<(Recipe, Origin)> {
        let at = train.at();
        let place = Place { env: train.env.clone(), scope: Scope::root() };
        self.want(Kind::Part("recipe"), train.value, train.env.file);
        let recipe = match self.eval(train.value, &place) {
            Value::Recipe(recipe) => recipe,
            Value::Definition(definition) if definition.sort() == "recipe" => {
                let given = definition.params().iter().map(|_| None).collect();
                let bound = self.complete(&definition, given, at)?;
                RecipeValue::new(definition, bound)
            }
            Value::Error => return None,
            other => {
                let diagnostic =
                    Diagnostic::error(Code::WrongType, "`train` is a recipe", at, format!("this is {}", other.kind()));
                self.report(match other {
                    Value::Config(Config::Str(name)) if is_name(&name) => {
                        diagnostic.replace("names stand without quotes", at, name)
                    }
                    _ => diagnostic.help("for example `train = deit(epochs = 300)`"),
                });
                return None;
            }
        };
        let definition = recipe.definition.clone();
        let mut given: Vec<Option<Bound>> =
            recipe.bound.iter().map(|bound| bound.written.is_some().then(|| bound.clone())).collect();
        let mut fields_set: Vec<&Change<'_>> = Vec::new();
        for change in changes {
            match definition.params().iter().position(|param| param.name.text == change.part) {
                Some(index) => {
                    let place = Place { env: change.to.env.clone(), scope: Scope::root() };
                    let value = self.eval(change.to.value, &place);
                    given[index] = Some(Bound { name: change.part.clone(), value, written: Some(change.to.at()) });
                }
                None => fields_set.push(change),
            }
        }
        let bound = self.complete(&definition, given, at)?;
        let epochs = self.count("epochs", &definition, &bound, at);
        let batch = self.count("batch", &definition, &bound, at);
        let (epochs, batch) = (epochs?, batch?);
        let (fields, places) = self.recipe_fields(&definition, &bound, &fields_set, at)?;
        let given = Given { name: &definition.name, bound: &bound, fields: &fields, places: &places, at };
        if !self.check_points_left(&given) {
            return None;
        }
        Some((Recipe { name: definition.name.clone(), epochs, batch, fields, places }, at))
    }

    /// A parameter that every recipe has, and that is a whole number of at least 1.
    fn count(&mut self, name: &str, definition: &Rc<Definition>, bound: &[Bound], at: Origin) -> Option<usize> {
        let Some(param) = bound.iter().find(|bound| bound.name == name) else {
            self.report(
                Diagnostic::error(
                    Code::MissingArgument,
                    format!("the recipe `{}` has no `{name}`", definition.name),
                    definition.origin(),
                    "declared here",
                )
                .note("every recipe has `epochs` and `batch` among its parameters"),
            );
            return None;
        };
        if let Value::Config(Config::Int(n)) = param.value
            && n >= 1
        {
            return usize::try_from(n).ok();
        }
        let what = match &param.value {
            Value::Config(config) => config.to_string(),
            other => other.kind(),
        };
        self.report(Diagnostic::error(
            Code::OutOfRange,
            format!("`{name}` is a whole number of at least 1"),
            param.written.unwrap_or(at),
            format!("this is {what}"),
        ));
        None
    }

    /// The fields that the recipe writes, then those that are changed from outside it. `None` is a mistake that was
    /// reported.
    fn recipe_fields(
        &mut self,
        definition: &Rc<Definition>,
        bound: &[Bound],
        changes: &[&Change<'_>],
        at: Origin,
    ) -> Option<(BTreeMap<String, Config>, BTreeMap<String, Origin>)> {
        let ItemKind::Recipe { fields, .. } = definition.kind() else { return None };
        let env = Env::within(
            &Env::top(definition.file),
            bound.iter().map(|bound| (bound.name.clone(), bound.value.clone())).collect(),
        );
        let mut settled: BTreeMap<String, Config> = BTreeMap::new();
        let mut places = BTreeMap::new();
        let written = fields.iter().map(|(name, value)| {
            (name.text.as_str(), value, env.clone(), Origin { file: definition.file, span: name.span })
        });
        let from_outside =
            changes.iter().map(|change| (change.part.as_str(), change.to.value, change.to.env.clone(), change.part_at));
        let mut sound = true;
        for (name, value, env, name_at) in written.chain(from_outside).collect::<Vec<_>>() {
            let value_at = Origin { file: env.file, span: value.span };
            match self.recipe_field(definition, RecipeField { name, value, env, name_at }, at) {
                Some(value) => {
                    settled.insert(name.to_owned(), value);
                    if !self.sources.get(value_at.file).library {
                        places.insert(name.to_owned(), value_at);
                    }
                }
                None => sound = false,
            }
        }
        for needed in ["loss", "optimizer", "schedule"] {
            if !settled.contains_key(needed) && sound {
                self.report(Diagnostic::error(
                    Code::MissingArgument,
                    format!("the recipe `{}` has no `{needed}`", definition.name),
                    definition.origin(),
                    "declared here",
                ));
                sound = false;
            }
        }
        sound.then_some((settled, places))
    }

    /// One field. `None` is a mistake that was reported.
    fn recipe_field(&mut self, definition: &Definition, field: RecipeField<'_>, at: Origin) -> Option<Config> {
        let RecipeField { name, value, env, name_at } = field;
        let value_at = Origin { file: env.file, span: value.span };
        let Some((_, kind)) = RECIPE_FIELDS.iter().find(|(known, _)| *known == name) else {
            let mut known: Vec<&str> = RECIPE_FIELDS.iter().map(|(known, _)| *known).collect();
            known.extend(definition.params().iter().map(|param| param.name.text.as_str()));
            let mut diagnostic = Diagnostic::error(
                Code::UnknownField,
                format!("a recipe has no `{name}`"),
                name_at,
                "not a field of a recipe",
            );
            diagnostic = match meant(name, &known) {
                Some(_) if name_at != value_at => diagnostic.did_you_mean(name, &known, name_at),
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.note(format!("it has `{}`", known.join("`, `"))),
            };
            self.report(diagnostic);
            return None;
        };
        let place = Place { env, scope: Scope::root() };
        let sort = kind.trim_matches(['[', ']']);
        let wanted = match sort {
            "number" | "count" => Kind::Number,
            "flag" => Kind::Argument,
            sort => Kind::Part(sort),
        };
        let settle = |this: &mut Self| {
            this.want(wanted, value, place.env.file);
            let value = this.eval(value, &place);
            let places = samples::places(&value, value_at);
            this.settled(value, value_at).map(|settled| (settled, places))
        };
        // What is wrong in a recipe of the library is wrong with the arguments that it was given.
        let (value, places) = self.framed(&definition.name, at, settle).flatten()?;
        if !of_kind(&value, kind) {
            let diagnostic = Diagnostic::error(
                Code::WrongType,
                format!("`{name}` of a recipe is {}", kind_in_words(kind)),
                value_at,
                format!("this is {}", value.kind()),
            );
            let single = *kind == "[augment]" && of_kind(&value, "augment");
            self.report(match (single, self.sources.text(value_at)) {
                (true, text) if !text.is_empty() => {
                    diagnostic.fix("one is a list of one", value_at, format!("[{text}]"))
                }
                _ => diagnostic,
            });
            return None;
        }
        if matches!(sort, "augment" | "views") {
            let in_library = places.iter().any(|place| self.sources.get(place.file).library);
            let hold = match in_library {
                true => self.framed(&definition.name, at, |this| this.check_steps(&value, &places)).unwrap_or(false),
                false => self.check_steps(&value, &places),
            };
            if !hold {
                return None;
            }
        }
        let bounds = match name {
            "ema" => Some(("lies between 0 and 1", (0.0..=1.0).contains(&value.float().unwrap_or(0.0)))),
            "mix_groups" => Some(("is at least 1", value.int().unwrap_or(0) >= 1)),
            "clip" => Some(("is more than 0", value.float().unwrap_or(1.0) > 0.0)),
            _ => None,
        };
        if let Some((bound, false)) = bounds {
            self.report(Diagnostic::error(
                Code::OutOfRange,
                format!("`{name}` of a recipe {bound}"),
                value_at,
                format!("this is {value}"),
            ));
            return None;
        }
        Some(value)
    }
}

fn of_kind(value: &Config, kind: &str) -> bool {
    match (value, kind) {
        (Config::Either(a, b), "mix") => of_kind(a, kind) && of_kind(b, kind),
        (Config::List(items), "[augment]") => items.iter().all(|item| of_kind(item, "augment")),
        (Config::Int(_) | Config::Float(_), "number" | "clip") | (Config::Int(_), "count") => true,
        (Config::Bool(_), "flag") => true,
        (Config::Record(losses), "loss") => losses.values().all(|loss| of_kind(loss, kind)),
        (Config::Sum(losses), "loss") => losses.iter().all(|loss| of_kind(loss, kind)),
        (Config::Scaled(_, loss), "loss") => of_kind(loss, kind),
        (Config::Call(call), kind) => library::is_a(&call.kind, kind),
        _ => false,
    }
}

fn kind_in_words(kind: &str) -> &'static str {
    match kind {
        "[augment]" => "a list of augmentations",
        "number" => "a number",
        "count" => "a whole number",
        "flag" => "`true` or `false`",
        "clip" => "a number, the largest norm of the gradient, or a way of clipping as `by_value` is",
        "momentum" => "the momentum of batch norms over the run, as `falling` is",
        "loss" => "a loss",
        "optimizer" => "an optimizer",
        "schedule" => "a schedule",
        "mix" => "a mix, or a choice of two by `or`",
        "sampler" => "a sampler",
        "views" => "a way of seeing each sample several times, as `clips` is",
        _ => "something else",
    }
}
