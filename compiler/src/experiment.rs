//! A whole spec: its settings in the order they depend on each other, and what must hold between them.

use std::rc::Rc;

use lmv_grammar::ast::{File, Input, ItemKind, Span, Type, TypeKind};
use serde::Serialize;

use crate::codes::Code;
use crate::config::{Call, Config};
use crate::declared_only::{self, DeclaredOnly};
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Elaborator, Kind, Place};
use crate::graph::{Graph, Port};
use crate::library;
use crate::metrics::Metric;
use crate::recipe::Recipe;
use crate::settings::{Change, Model, Setting, Settings};
use crate::shape::{Dim, Shape};
use crate::source::{FileId, Origin};
use crate::value::{Bound, Data, Env, Scope, Value};

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
    /// The metrics, as `eval` lists them, with the numbers published for them.
    pub eval: Vec<Metric>,
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
    /// Its shape per sample; a label has none.
    pub shape: Option<Shape>,
    /// How many classes, for a label or for class numbers such as token ids.
    pub classes: Option<Dim>,
}

impl Elaborator<'_> {
    /// Elaborates what the settings say; `None` if it is wrong, with the reasons in `self.diagnostics`.
    pub(crate) fn experiment(&mut self, id: FileId, tree: &File, settings: &Settings<'_>) -> Option<Experiment> {
        self.data = settings.get("data").and_then(|data| self.dataset(data, &settings.changes("data")));
        self.use_knowledge();
        let before = self.diagnostics.len();
        let model_at = self.model(id, settings);
        let model_is_sound = self.diagnostics.len() == before;
        let broken_data = settings.get("data").is_some() && self.data.is_none();
        if broken_data {
            // The data would have told.
            self.diagnostics.retain(|diagnostic| diagnostic.code != Code::UnknownInput);
        }
        let mut train = settings.get("train").and_then(|train| self.train(train, &settings.changes("train")));
        let mut eval = settings.get("eval").map(|eval| self.eval_list(eval)).unwrap_or_default();
        let reported = settings.get("reported").map(|reported| self.reported(reported, &eval)).unwrap_or_default();
        let seed = settings.get("seed").and_then(|seed| self.seed(seed));
        self.without_a_base(settings);
        if let (Some(model_at), false) = (model_at, broken_data) {
            if let Some((recipe, at)) = &mut train {
                self.check_training(recipe, *at, model_at);
            }
            for measure in &mut eval {
                self.check_measure(measure, model_at);
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
        let fields = data.iter().flat_map(|data| &data.fields).map(|(name, ty)| Field {
            name: name.clone(),
            shape: (!ty.is_label()).then(|| ty.shape.clone()),
            classes: ty.classes.clone(),
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
            eval: crate::metrics::metrics(eval, &reported),
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
        self.want(Kind::Part("dataset"), data.value, data.env.file);
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
                let takes = |diagnostic: Diagnostic| diagnostic.note(format!("it takes `{}`", known.join("`, `")));
                let diagnostic = match *part_at != to.at() {
                    true => diagnostic.did_you_mean_or(part, &known, *part_at, takes),
                    false => takes(diagnostic),
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
                fields.push((name.text.clone(), self.standing(ty, &env, at)?));
            }
        }
        // What a file changes in the data of another is what the streams are due to.
        let origin = changes.iter().rev().find_map(|change| change.of_at).unwrap_or(at);
        Some(Rc::new(Data { call, origin, fields }))
    }

    /// A part of the library of the wanted kind; what is none is reported under `message`.
    pub(crate) fn part(&mut self, kind: &str, message: &str, value: Value, at: Origin) -> Option<Call> {
        let quoted = match &value {
            Value::Config(Config::Str(name)) => library::definition_names(kind).contains(name).then(|| name.clone()),
            _ => None,
        };
        let found = match value {
            Value::Definition(definition) if definition.sort() != kind => Value::Definition(definition).kind(),
            Value::Config(_) | Value::Definition(_) | Value::Error => match self.settled(value, at)? {
                Config::Call(call) if call.kind == kind => return Some(*call),
                other => other.kind().to_owned(),
            },
            other => other.kind(),
        };
        let mut names = library::definition_names(kind);
        names.sort();
        self.report(match quoted {
            Some(name) => Diagnostic::error(Code::WrongType, message, at, format!("this is {found}")).fix(
                "names stand without quotes",
                at,
                name,
            ),
            None => Diagnostic::error(Code::WrongType, message, at, format!("this is {found}"))
                .note(format!("the library has `{}`", names.join("`, `"))),
        });
        None
    }

    /// The model; gives the place that stands for it in messages, or `None` if it is wrong.
    fn model(&mut self, id: FileId, settings: &Settings<'_>) -> Option<Origin> {
        let (Some((model, env)), Some(at)) = (&settings.model, settings.model_at()) else {
            if settings.model_is_misspelt || self.needs_no_model {
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
                            if !ty.is_label() {
                                streams.push(self.input(name, ty.shape.clone(), ty.classes.clone(), data.origin));
                            }
                        }
                        if streams.len() == 1 { streams.remove(0) } else { Value::Tuple(streams) }
                    }
                };
                self.want(Kind::Layer, expr, env.file);
                let layer = self.eval(expr, &place);
                self.step(layer, input, &place, at)
            }
            Model::Function { inputs, body } => {
                let mut names = Vec::new();
                for input in *inputs {
                    let input_at = Origin { file: env.file, span: input.name.span };
                    // What broken data would have said of an input is not known.
                    let told = input.shape.is_some() || data.is_some() || settings.get("data").is_none();
                    let value = if told { self.model_input(input, data.as_deref(), input_at) } else { Value::Error };
                    names.push((input.name.text.clone(), value));
                }
                let unknown = names.iter().any(|(_, value)| matches!(value, Value::Error));
                let place = Place { env: Env::within(&place.env, names), scope: place.scope.clone() };
                let output = self.block(body, &place);
                if unknown {
                    // What else is wrong in the body has been found; what comes out cannot be told.
                    return None;
                }
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
        let ports: Vec<(String, Value)> = match output {
            Value::Tuple(items) => {
                items.into_iter().enumerate().map(|(i, value)| (format!("output.{i}"), value)).collect()
            }
            Value::Record(fields) => fields,
            one => vec![("output".to_owned(), one)],
        };
        let mut outputs = Vec::new();
        for (name, value) in ports {
            match value {
                Value::Stream(stream) => outputs.push(Port { name, stream: stream.id }),
                Value::Tuple(_) | Value::Record(_) => {
                    self.report(
                        Diagnostic::error(
                            Code::WrongType,
                            "an output of a model is one stream",
                            at,
                            format!("`{name}` is {}", value.kind()),
                        )
                        .help("give each stream a name of its own: `{ answer: x, pose: y }`"),
                    );
                    return None;
                }
                _ => return None,
            }
        }
        self.graph.outputs = outputs;
        Some(at)
    }

    fn model_input(&mut self, input: &Input, data: Option<&Data>, at: Origin) -> Value {
        let name = &input.name.text;
        let of_data = data.and_then(|data| {
            let field = data.fields.iter().find(|(field, ty)| field == name && !ty.is_label());
            field.map(|(_, ty)| (ty.clone(), data.origin))
        });
        let typed = match &input.shape {
            Some(Type { kind: TypeKind::Tuple(_) | TypeKind::Record(_), .. }) => {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    "an input is a tensor",
                    at,
                    "as in `x : [3, 32, 32]`",
                ));
            }
            Some(ty) => match self.standing(ty, &Env::top(at.file), at) {
                Some(stream) => Some(stream),
                None => return Value::Error,
            },
            None => None,
        };
        match (typed, of_data) {
            (Some(typed), Some((given, from))) if typed != given => self.report(
                Diagnostic::error(
                    Code::Stream,
                    format!("`{name}` is not what the data gives"),
                    at,
                    format!("says {typed}"),
                )
                .also(from, format!("gives {given}")),
            ),
            (Some(ty), _) | (None, Some((ty, _))) => self.input(name, ty.shape, ty.classes, at),
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
                        let inputs: Vec<&str> = data
                            .fields
                            .iter()
                            .filter(|(_, ty)| !ty.is_label())
                            .map(|(field, _)| field.as_str())
                            .collect();
                        diagnostic = diagnostic.did_you_mean_or(name, &inputs, at, |diagnostic| {
                            diagnostic.help(format!(
                                "an input is a field of the data, `{}`, or has its type written: `{name} : [3, 32, 32]`",
                                inputs.join("` or `")
                            ))
                        });
                    }
                    None => {
                        diagnostic = diagnostic.help(format!("write its shape per sample: `{name} : [3, 32, 32]`"));
                    }
                }
                self.report(diagnostic)
            }
        }
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

    /// Definitions are checked by themselves too, as far as they go without arguments.
    pub(crate) fn unused_items(&mut self, id: FileId, tree: &File) {
        for item in &tree.items {
            if let ItemKind::Define { name, .. }
            | ItemKind::Recipe { name, .. }
            | ItemKind::Let { params: Some(_), name, .. } = &item.kind
                && let Some(definition) = self.modules.own(id, &name.text)
            {
                self.check_definition(&definition);
                continue;
            }
            let (ItemKind::Let { params: None, name, .. } | ItemKind::Llm { name, .. }) = &item.kind else { continue };
            if let Some(definition) = self.modules.own(id, &name.text) {
                self.definition(&definition, Origin { file: id, span: name.span });
            }
        }
    }
}
