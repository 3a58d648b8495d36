//! A whole spec: its settings in the order they depend on each other, and what must hold between them.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{File, Input, ItemKind, Span, Type, TypeKind};
use serde::Serialize;

use crate::codes::Code;
use crate::config::{Call, Config};
use crate::declared_only::{self, DeclaredOnly};
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Elaborator, Place};
use crate::graph::{Graph, Port, StreamId};
use crate::library;
use crate::near::nearest;
use crate::settings::{Change, Model, Setting, Settings};
use crate::shape::{Dim, Shape};
use crate::source::{FileId, Origin};
use crate::value::{Bound, Data, Env, FieldType, Recipe as RecipeValue, Scope, Value};

/// A checked spec.
#[derive(Clone, Debug, Serialize)]
pub struct Experiment {
    /// The text of its `//!` lines.
    pub doc: Option<String>,
    /// The model.
    pub graph: Graph,
    /// The dataset with its arguments.
    pub data: Option<Call>,
    /// The dataset's fields.
    pub fields: Vec<Field>,
    /// The recipe.
    pub train: Option<Recipe>,
    /// The metrics, as `eval` lists them.
    pub eval: Vec<Call>,
    /// `seed = …`.
    pub seed: Option<u64>,
    /// Parts that the library declares and that do not run yet: with any, the spec can be checked and shown, not run.
    pub not_yet_run: Vec<DeclaredOnly>,
}

/// A field of the dataset.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// Its name: `image`.
    pub name: String,
    /// Its shape per sample, for a tensor.
    pub shape: Option<Shape>,
    /// How many classes, for a label.
    pub classes: Option<Dim>,
}

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
}

/// What a recipe may name, and the kind of part that each takes (`*` for a plain value, `[]` for a list of parts).
const RECIPE_FIELDS: [(&str, &str); 9] = [
    ("loss", "loss"),
    ("optimizer", "optimizer"),
    ("schedule", "schedule"),
    ("augment", "[augment]"),
    ("eval_augment", "[augment]"),
    ("mix", "mix"),
    ("sampler", "sampler"),
    ("ema", "number"),
    ("clip", "number"),
];

impl Elaborator<'_> {
    /// Elaborates what the settings say; `None` if it is wrong, with the reasons in `self.diagnostics`.
    pub(crate) fn experiment(&mut self, id: FileId, tree: &File, settings: &Settings<'_>) -> Option<Experiment> {
        self.data = settings.get("data").and_then(|data| self.dataset(data, &settings.changes("data")));
        let before = self.diagnostics.len();
        let model_at = self.model(id, settings);
        let model_is_sound = self.diagnostics.len() == before;
        let train = settings.get("train").and_then(|train| self.train(train, &settings.changes("train")));
        let eval = settings.get("eval").map(|eval| self.eval_list(eval)).unwrap_or_default();
        let seed = settings.get("seed").and_then(|seed| self.seed(seed));
        self.without_a_base(settings);
        let broken_data = settings.get("data").is_some() && self.data.is_none();
        if let (Some(model_at), false) = (model_at, broken_data) {
            if let Some((recipe, at)) = &train {
                self.check_training(recipe, *at, model_at);
            }
            for (call, at) in &eval {
                self.check_measure(call, *at, model_at);
            }
            // Behind a mistake the graph has a gap, which no gradient crosses.
            if model_is_sound {
                self.check_reach();
            }
        }
        if !self.diagnostics.is_empty() {
            return None;
        }
        let data = self.data.clone();
        let fields = data.iter().flat_map(|data| &data.fields).map(|(name, ty)| match ty {
            FieldType::Tensor(shape) => Field { name: name.clone(), shape: Some(shape.clone()), classes: None },
            FieldType::Class(dim) => Field { name: name.clone(), shape: None, classes: Some(dim.clone()) },
        });
        let settings =
            declared_only::Settings { graph: &self.graph, data: data.as_ref(), train: train.as_ref(), eval: &eval };
        let not_yet_run = declared_only::declared_only(&settings, self.sources);
        Some(Experiment {
            doc: tree.doc.clone(),
            fields: fields.collect(),
            graph: std::mem::take(&mut self.graph),
            data: data.map(|data| data.call.clone()),
            train: train.map(|(recipe, _)| recipe),
            eval: eval.into_iter().map(|(call, _)| call).collect(),
            seed,
            not_yet_run,
        })
    }

    /// A setting of which a part is changed, and which nothing sets.
    fn without_a_base(&mut self, settings: &Settings<'_>) {
        let Some(Change { of, part, of_at: Some(at), .. }) = settings.without_a_base() else { return };
        let whole = if *of == "train" { "train = deit" } else { "data = imagenet" };
        self.report(
            Diagnostic::error(
                Code::NoBase,
                format!("there is no `{of}` to change"),
                *at,
                "changes a part of what is not there",
            )
            .note(format!("neither this file nor one that it extends sets `{of}`"))
            .help(format!("set it as a whole, as in `{whole}({part} = …)`")),
        );
    }

    fn dataset(&mut self, data: &Setting<'_>, changes: &[Change<'_>]) -> Option<Rc<Data>> {
        let at = data.at();
        let value = self.eval(data.value, &Place { env: data.env.clone(), scope: Scope::root() });
        let mut call = self.part("dataset", "`data` is a dataset", value, at)?;
        let definition = self.extern_of(&call)?;
        let mut given: Vec<Option<Bound>> = definition
            .params()
            .iter()
            .map(|param| {
                let value = call.arguments.get(&param.name.text)?.clone();
                Some(Bound { name: param.name.text.clone(), value: Value::Config(value), written: None })
            })
            .collect();
        for Change { part, part_at, to, .. } in changes {
            let known: Vec<&str> = definition.params().iter().map(|param| param.name.text.as_str()).collect();
            let value = self.eval(to.value, &Place { env: to.env.clone(), scope: Scope::root() });
            let Some(slot) = known.iter().position(|known| known == part) else {
                let diagnostic = Diagnostic::error(
                    Code::UnknownArgument,
                    format!("`{}` has no argument `{part}`", call.name),
                    *part_at,
                    "not one of its arguments",
                );
                let diagnostic = match nearest(part, known.iter().copied()) {
                    Some(_) if *part_at != to.at() => diagnostic.did_you_mean(part, &known, *part_at),
                    _ => diagnostic.note(format!("it takes `{}`", known.join("`, `"))),
                };
                self.report(diagnostic.also(at, "stands here"));
                return None;
            };
            given[slot] = Some(Bound { name: part.clone(), value, written: Some(to.at()) });
        }
        if !changes.is_empty() {
            for bound in self.complete(&definition, given, at)? {
                let value = self.settled(bound.value, bound.written.unwrap_or(at))?;
                call.arguments.insert(bound.name, value);
            }
        }
        let names = call.arguments.iter().map(|(name, value)| (name.clone(), Value::Config(value.clone()))).collect();
        let env = Env::within(&Env::top(definition.file), names);
        let mut fields = Vec::new();
        if let Some(signature) = definition.signature()
            && let TypeKind::Record(types) = &signature.output.kind
        {
            for (name, ty) in types {
                fields.push((name.text.clone(), self.field_type(ty, &env, at)?));
            }
        }
        Some(Rc::new(Data { call, origin: at, fields }))
    }

    /// A part of the library of the wanted kind; what is none is reported under `message`.
    fn part(&mut self, kind: &str, message: &str, value: Value, at: Origin) -> Option<Call> {
        let found = match value {
            Value::Definition(definition) if definition.sort() != kind => Value::Definition(definition).kind(),
            Value::Config(_) | Value::Definition(_) | Value::Error => match self.settled(value, at)? {
                Config::Call(call) if call.kind == kind => return Some(call),
                other => other.kind().to_owned(),
            },
            other => other.kind(),
        };
        let mut names = library::definition_names(kind);
        names.sort();
        self.report(
            Diagnostic::error(Code::WrongType, message, at, format!("this is {found}"))
                .note(format!("the library has `{}`", names.join("`, `"))),
        );
        None
    }

    fn field_type(&mut self, ty: &Type, env: &Rc<Env>, at: Origin) -> Option<FieldType> {
        match &ty.kind {
            TypeKind::Shape(dims) | TypeKind::Of { dims, .. } => self.type_shape(dims, env, at).map(FieldType::Tensor),
            TypeKind::Named(_, sizes) => {
                let place = Place { env: env.clone(), scope: Scope::root() };
                match sizes.first().map(|size| self.eval(size, &place)) {
                    Some(Value::Config(Config::Int(n))) if n >= 2 => Some(FieldType::Class(Dim::Known(n))),
                    Some(Value::Config(Config::Int(n))) => {
                        self.report(
                            Diagnostic::error(
                                Code::OutOfRange,
                                format!("a dataset of {n} classes"),
                                at,
                                "has nothing to tell apart",
                            )
                            .note("a label is one of at least two classes"),
                        );
                        None
                    }
                    Some(Value::Dim(dim)) => Some(FieldType::Class(dim)),
                    Some(Value::Config(Config::Unknown(name))) => {
                        Some(FieldType::Class(Dim::Named { name, varying: false }))
                    }
                    Some(Value::Error) => None,
                    _ => {
                        self.report(Diagnostic::error(
                            Code::WrongType,
                            "the number of classes is a whole number",
                            at,
                            "is not, here",
                        ));
                        None
                    }
                }
            }
            _ => None,
        }
    }

    /// The model; gives the place that stands for it in messages, or `None` if it is wrong.
    fn model(&mut self, id: FileId, settings: &Settings<'_>) -> Option<Origin> {
        let (Some((model, env)), Some(at)) = (&settings.model, settings.model_at()) else {
            if settings.model_is_misspelt || self.variants_only {
                return None;
            }
            if let Some((name, at)) = self.variant.clone() {
                self.report(
                    Diagnostic::error(
                        Code::NoModel,
                        format!("the variant `{name}` has no model"),
                        at,
                        "has none of its own",
                    )
                    .note("nor does the spec set one that it could build on"),
                );
                return None;
            }
            let end = self.sources.get(id).text.trim_end().len();
            self.report(
                Diagnostic::error(Code::NoModel, "this spec has no model", Origin { file: id, span: Span::new(end, end) }, "the file ends without one")
                    .help("for example `model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[31]) >> linear(4096, 384) >> head`"),
            );
            return None;
        };
        let place = Place { env: env.clone(), scope: Scope::root() };
        let data = self.data.clone();
        let output = match model {
            Model::Pipe(expr) => {
                let input = match &data {
                    // Data that is wrong has been reported; the model is checked as if there were none.
                    None => Value::UnknownInput,
                    Some(data) => {
                        let mut streams: Vec<Value> = Vec::new();
                        for (name, ty) in &data.fields {
                            if let FieldType::Tensor(shape) = ty {
                                streams.push(self.input(name, shape.clone(), data.origin));
                            }
                        }
                        if streams.len() == 1 { streams.remove(0) } else { Value::Tuple(streams) }
                    }
                };
                let layer = self.eval(expr, &place);
                self.step(layer, input, &place, at)
            }
            Model::Function { inputs, body } => {
                let mut names = Vec::new();
                for input in *inputs {
                    let input_at = Origin { file: env.file, span: input.name.span };
                    let value = self.model_input(input, data.as_deref(), input_at);
                    names.push((input.name.text.clone(), value));
                }
                if names.iter().any(|(_, value)| matches!(value, Value::Error)) {
                    return None;
                }
                let place = Place { env: Env::within(&place.env, names), scope: place.scope.clone() };
                let output = self.block(body, &place);
                if !crate::elaborate::is_stream(&output) && !matches!(output, Value::Error) {
                    self.report(
                        Diagnostic::error(
                            Code::NotALayer,
                            "a model ends in a stream",
                            at,
                            format!("this is {}", output.kind()),
                        )
                        .help("pipe an input into it: `x >> …`"),
                    );
                    return None;
                }
                output
            }
        };
        let ports: Vec<StreamId> = match output {
            Value::Stream(stream) => vec![stream.id],
            Value::Tuple(items) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Stream(stream) => Some(stream.id),
                    _ => None,
                })
                .collect(),
            Value::Error => return None,
            _ => return None,
        };
        let single = ports.len() == 1;
        self.graph.outputs = ports
            .into_iter()
            .enumerate()
            .map(|(i, stream)| Port { name: if single { "output".into() } else { format!("output.{i}") }, stream })
            .collect();
        Some(at)
    }

    fn model_input(&mut self, input: &Input, data: Option<&Data>, at: Origin) -> Value {
        let name = &input.name.text;
        let of_data = data.and_then(|data| {
            data.fields.iter().find(|(field, _)| field == name).and_then(|(_, ty)| match ty {
                FieldType::Tensor(shape) => Some((shape.clone(), data.origin)),
                FieldType::Class(_) => None,
            })
        });
        let typed = match &input.shape {
            Some(Type { kind: TypeKind::Shape(dims) | TypeKind::Of { dims, .. }, .. }) => {
                let env = Env::top(at.file);
                match self.type_shape(dims, &env, at) {
                    Some(shape) => Some(shape),
                    None => return Value::Error,
                }
            }
            Some(_) => {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    "an input is a tensor",
                    at,
                    "as in `x : [3, 32, 32]`",
                ));
            }
            None => None,
        };
        match (typed, of_data) {
            (Some(typed), Some((shape, from))) if typed != shape => self.report(
                Diagnostic::error(
                    Code::Stream,
                    format!("`{name}` is not what the data gives"),
                    at,
                    format!("says {typed}"),
                )
                .also(from, format!("gives {shape}")),
            ),
            (Some(shape), _) | (None, Some((shape, _))) => self.input(name, shape, at),
            (None, None) => {
                let mut diagnostic = Diagnostic::error(
                    Code::Stream,
                    format!("nothing says what `{name}` is"),
                    at,
                    "an input without a shape",
                );
                match data {
                    Some(data) => {
                        let fields: Vec<&str> = data.fields.iter().map(|(field, _)| field.as_str()).collect();
                        diagnostic = diagnostic.also(data.origin, format!("gives `{}`", fields.join("`, `")));
                        diagnostic = diagnostic.did_you_mean(name, &fields, at);
                    }
                    None => {
                        diagnostic = diagnostic.help(format!("write its shape per sample: `{name} : [3, 32, 32]`"));
                    }
                }
                self.report(diagnostic)
            }
        }
    }

    fn train(&mut self, train: &Setting<'_>, changes: &[Change<'_>]) -> Option<(Recipe, Origin)> {
        let at = train.at();
        let place = Place { env: train.env.clone(), scope: Scope::root() };
        let recipe = match self.eval(train.value, &place) {
            Value::Recipe(recipe) => recipe,
            Value::Definition(definition) if definition.sort() == "recipe" => {
                let given = definition.params().iter().map(|_| None).collect();
                let bound = self.complete(&definition, given, at)?;
                RecipeValue::new(definition, bound)
            }
            Value::Error => return None,
            other => {
                self.report(
                    Diagnostic::error(Code::WrongType, "`train` is a recipe", at, format!("this is {}", other.kind()))
                        .help("for example `train = deit(epochs = 300)`"),
                );
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
        let positive = |this: &mut Self, name: &str| -> Option<usize> {
            let param = bound.iter().find(|bound| bound.name == name);
            let Some(param) = param else {
                this.report(
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
            match param.value {
                Value::Config(Config::Int(n)) if n >= 1 => usize::try_from(n).ok(),
                _ => {
                    let at = param.written.unwrap_or(at);
                    let what = match &param.value {
                        Value::Config(config) => config.to_string(),
                        other => other.kind(),
                    };
                    this.report(Diagnostic::error(
                        Code::OutOfRange,
                        format!("`{name}` is a whole number of at least 1"),
                        at,
                        format!("this is {what}"),
                    ));
                    None
                }
            }
        };
        let epochs = positive(self, "epochs");
        let batch = positive(self, "batch");
        let (epochs, batch) = (epochs?, batch?);
        let ItemKind::Recipe { fields, .. } = definition.kind() else { return None };
        let env = Env::within(
            &Env::top(definition.file),
            bound.iter().map(|bound| (bound.name.clone(), bound.value.clone())).collect(),
        );
        let mut settled: BTreeMap<String, Config> = BTreeMap::new();
        let written = fields.iter().map(|(name, value)| {
            (name.text.as_str(), value, env.clone(), Origin { file: definition.file, span: name.span })
        });
        let from_outside = fields_set
            .iter()
            .map(|change| (change.part.as_str(), change.to.value, change.to.env.clone(), change.part_at));
        let mut sound = true;
        for (name, value, env, name_at) in written.chain(from_outside).collect::<Vec<_>>() {
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
                diagnostic = match nearest(name, known.iter().copied()) {
                    Some(_) if name_at != value_at => diagnostic.did_you_mean(name, &known, name_at),
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic.note(format!("it has `{}`", known.join("`, `"))),
                };
                self.report(diagnostic);
                sound = false;
                continue;
            };
            let place = Place { env, scope: Scope::root() };
            let settle = |this: &mut Self| {
                let value = this.eval(value, &place);
                this.settled(value, value_at)
            };
            // What is wrong in a recipe of the library is wrong with the arguments that it was given.
            let Some(value) = self.framed(&definition.name, at, settle).flatten() else {
                sound = false;
                continue;
            };
            if !of_kind(&value, kind) {
                self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("`{name}` of a recipe is {}", kind_in_words(kind)),
                    value_at,
                    format!("this is {}", value.kind()),
                ));
                sound = false;
            }
            let bounds = match name {
                "ema" => Some(("lies between 0 and 1", (0.0..=1.0).contains(&value.float().unwrap_or(0.0)))),
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
                sound = false;
            }
            settled.insert(name.to_owned(), value);
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
        let recipe = Recipe { name: definition.name.clone(), epochs, batch, fields: settled };
        sound.then_some((recipe, at))
    }

    fn eval_list(&mut self, eval: &Setting<'_>) -> Vec<(Call, Origin)> {
        let place = Place { env: eval.env.clone(), scope: Scope::root() };
        let items: Vec<&lmv_grammar::ast::Expr> = match &eval.value.kind {
            lmv_grammar::ast::ExprKind::List(items) => items.iter().collect(),
            _ => vec![eval.value],
        };
        let mut calls = Vec::new();
        for item in items {
            let item_at = Origin { file: eval.env.file, span: item.span };
            let value = self.eval(item, &place);
            if let Some(call) = self.part("metric", "`eval` lists metrics", value, item_at) {
                calls.push((call, item_at));
            }
        }
        calls
    }

    fn seed(&mut self, seed: &Setting<'_>) -> Option<u64> {
        let at = seed.at();
        match self.eval(seed.value, &Place { env: seed.env.clone(), scope: Scope::root() }) {
            Value::Config(Config::Int(n)) if n >= 0 => u64::try_from(n).ok(),
            Value::Error => None,
            other => {
                self.report(Diagnostic::error(
                    Code::WrongType,
                    "`seed` is a whole number of at least 0",
                    at,
                    format!("this is {}", other.kind()),
                ));
                None
            }
        }
    }

    fn check_training(&mut self, recipe: &Recipe, at: Origin, model_at: Origin) {
        if self.data.is_none() {
            self.report(
                Diagnostic::error(Code::Stream, "there is nothing to train on", at, "a recipe, and no data")
                    .help("say what it learns from, for example `data = shapes()`, a small set that lmvc draws itself"),
            );
            return;
        }
        let (trained, frozen) = self.graph.parameter_counts();
        if trained == 0 {
            let what =
                if frozen == 0 { "the model has no parameters" } else { "every parameter of the model is frozen" };
            self.report(
                Diagnostic::error(
                    Code::NothingToTrain,
                    "there is nothing to train",
                    at,
                    "this recipe would change nothing",
                )
                .also(model_at, what),
            );
        }
        if let Some(Config::Call(loss)) = recipe.fields.get("loss").cloned() {
            self.check_measure(&loss, at, model_at);
        }
    }

    /// A loss or metric against what the model gives and the data holds.
    fn check_measure(&mut self, call: &Call, at: Origin, model_at: Origin) {
        let Some(definition) = self.extern_of(call) else { return };
        let Some(data) = self.data.clone() else {
            self.report(Diagnostic::error(
                Code::Stream,
                format!("`{}` has nothing to measure on", call.name),
                at,
                "the spec has no `data`",
            ));
            return;
        };
        let Some(TypeKind::Tuple(types)) = definition.signature().and_then(|s| s.input.as_ref()).map(|ty| &ty.kind)
        else {
            return;
        };
        let [prediction, Type { kind: TypeKind::Named(..), .. }] = types.as_slice() else { return };
        let Some(pattern) = prediction.dims() else { return };
        let label = data.fields.iter().find_map(|(name, ty)| match ty {
            FieldType::Class(dim) => Some((name, dim)),
            FieldType::Tensor(_) => None,
        });
        let Some((label, classes)) = label else {
            self.report(
                Diagnostic::error(
                    Code::Measure,
                    format!("`{}` needs labels, and the data has none", call.name),
                    at,
                    "measures against labels",
                )
                .also(data.origin, "has no label"),
            );
            return;
        };
        if self.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::Measure) {
            // What the model gives was reported; each further measure would only say so again.
            return;
        }
        let outputs = self.graph.outputs.clone();
        let [output] = outputs.as_slice() else {
            self.report(
                Diagnostic::error(
                    Code::Measure,
                    format!("`{}` measures one output, and the model gives {}", call.name, outputs.len()),
                    at,
                    "measures one output",
                )
                .also(model_at, format!("gives {}", outputs.len())),
            );
            return;
        };
        let shape = self.graph.shape(output.stream).clone();
        if shape.0.len() != pattern.len() {
            let end = Origin { file: model_at.file, span: Span::new(model_at.span.end, model_at.span.end) };
            let diagnostic = Diagnostic::error(
                Code::Measure,
                format!("`{}` cannot measure what the model gives", call.name),
                at,
                "takes one number a class: [classes]",
            )
            .also(model_at, format!("gives {shape}"));
            self.report(if shape.0.len() == 2 {
                diagnostic.replace("end the model in a head", end, " >> head")
            } else {
                diagnostic.help("end the model in something that gives one number a class")
            });
            return;
        }
        if let (Some(Dim::Known(gives)), Dim::Known(has)) = (shape.0.first(), classes)
            && gives != has
        {
            self.report(
                Diagnostic::error(
                    Code::Classes,
                    format!("the model tells {gives} classes apart, and the data has {has}"),
                    model_at,
                    format!("gives {shape}"),
                )
                .also(data.origin, format!("`{label}` is one of {has} classes"))
                .help("`head` without an argument takes the number of classes from the data"),
            );
        }
    }

    /// What is trained must reach an output.
    fn check_reach(&mut self) {
        let needed = self.graph.needed_for(self.graph.outputs.iter().map(|port| port.stream));
        let mut lost = Vec::new();
        for (node, needed) in self.graph.nodes.iter().zip(&needed) {
            let trains = node.parameters.iter().any(|(_, id)| !self.graph.parameters[id.0].frozen);
            if !needed && trains {
                lost.push((node.origin, node.path.clone()));
            }
        }
        for (at, path) in lost {
            self.report(
                Diagnostic::error(
                    Code::Unreached,
                    format!("`{path}` is trained, and no gradient reaches it"),
                    at,
                    "nothing that the model gives depends on this",
                )
                .help("pipe it into the output, freeze it, or leave it out"),
            );
        }
    }

    /// Definitions that nothing uses are checked as far as they go without arguments.
    pub(crate) fn unused_items(&mut self, id: FileId, tree: &File) {
        for item in &tree.items {
            let (ItemKind::Let { params: None, name, .. } | ItemKind::Llm { name, .. }) = &item.kind else { continue };
            if let Some(definition) = self.modules.own(id, &name.text) {
                self.definition(&definition, Origin { file: id, span: name.span });
            }
        }
    }
}

fn of_kind(value: &Config, kind: &str) -> bool {
    match (value, kind) {
        (Config::Either(a, b), "mix") => of_kind(a, kind) && of_kind(b, kind),
        (Config::List(items), "[augment]") => items.iter().all(|item| of_kind(item, "augment")),
        (Config::Int(_) | Config::Float(_), "number") => true,
        (Config::Call(call), kind) => call.kind == kind,
        _ => false,
    }
}

fn kind_in_words(kind: &str) -> &'static str {
    match kind {
        "[augment]" => "a list of augmentations",
        "number" => "a number",
        "loss" => "a loss",
        "optimizer" => "an optimizer",
        "schedule" => "a schedule",
        "mix" => "a mix, or a choice of two by `or`",
        "sampler" => "a sampler",
        _ => "something else",
    }
}
