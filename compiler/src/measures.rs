//! What must hold between the settings of a spec: the recipe, the losses and the metrics against what the model gives
//! and the data holds, and every trained parameter against the outputs.

use lmv_grammar::ast::{Name, Span, Type, TypeKind};

use crate::codes::Code;
use crate::config::{Call, Config, On};
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Bindings, Elaborator};
use crate::graph::{Port, Stream};
use crate::library;
use crate::modules::Found;
use crate::near::nearest;
use crate::recipe::Recipe;
use crate::shape::Dim;
use crate::source::Origin;
use crate::value::{Data, Env, EnvRef, Value};

/// A loss or a metric, where it stands, and the output that it was written for.
pub(crate) struct Measure {
    /// What a metric is called in what is measured.
    pub label: String,
    pub call: Call,
    pub at: Origin,
    pub output: Option<(String, Origin)>,
}

/// The parts of a record type, and where they are looked for if not everywhere.
type NamedParts<'t> = (Option<Side>, &'t [(Name, Type)]);

/// Where a part of a measure is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Model,
    Data,
}

impl Elaborator<'_> {
    /// A recipe against the data and the model.
    pub(crate) fn check_training(&mut self, recipe: &mut Recipe, at: Origin, model_at: Origin) {
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
                .also(model_at, what)
                .help(match frozen {
                    0 => "a recipe needs a model with parameters; without `train` the spec can be measured as it is",
                    _ => "train a part of it, as by `trainable(head)`, or leave `train` out to measure it as it is",
                }),
            );
        }
        let loss_at = recipe.places.get("loss").copied().unwrap_or(at);
        if let Some(loss) = recipe.fields.get_mut("loss") {
            self.check_loss(loss, None, loss_at, model_at);
        }
    }

    fn check_loss(&mut self, loss: &mut Config, output: Option<&str>, at: Origin, model_at: Origin) {
        match loss {
            Config::Call(call) => {
                let output = output.map(|name| (name.to_owned(), at));
                let mut measure = Measure { label: call.name.clone(), call: (**call).clone(), at, output };
                self.check_measure(&mut measure, model_at);
                **call = measure.call;
            }
            Config::Record(losses) => {
                for (name, loss) in losses {
                    self.check_loss(loss, Some(name), at, model_at);
                }
            }
            Config::Sum(losses) => losses.iter_mut().for_each(|loss| self.check_loss(loss, output, at, model_at)),
            Config::Scaled(_, loss) => self.check_loss(loss, output, at, model_at),
            _ => {}
        }
    }

    /// A loss or metric against what the model gives and the data holds. What it is taken of is noted in it.
    pub(crate) fn check_measure(&mut self, measure: &mut Measure, model_at: Origin) {
        let Some(definition) = self.extern_of(&measure.call) else { return };
        let (name, at) = (measure.call.name.clone(), measure.at);
        if self.data.is_none() {
            self.report(Diagnostic::error(
                Code::Stream,
                format!("`{name}` has nothing to measure on"),
                at,
                "the spec has no `data`",
            ));
            return;
        }
        if measure.output.is_none() && self.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::Measure) {
            // What the model gives was reported; each further measure would only say so again.
            return;
        }
        let arguments = &measure.call.arguments;
        let arguments = arguments.iter().map(|(name, value)| (name.clone(), Value::Config(value.clone()))).collect();
        let env = Env::within(&Env::top(definition.file), arguments);
        let taken = definition.signature().and_then(|signature| signature.input.as_ref()).map(|ty| &ty.kind);
        let named = |part: &Type| matches!(part.kind, TypeKind::Record(_));
        let mut bindings = Bindings::default();
        measure.call.on = match taken {
            Some(TypeKind::Record(parts)) => self.by_names(&name, &[(None, parts)], &mut bindings, &env, at, model_at),
            Some(TypeKind::Tuple(parts)) => match parts.as_slice() {
                [Type { kind: TypeKind::Record(given), .. }, Type { kind: TypeKind::Record(target), .. }] => {
                    let parts = [(Some(Side::Model), given.as_slice()), (Some(Side::Data), target.as_slice())];
                    self.by_names(&name, &parts, &mut bindings, &env, at, model_at)
                }
                [given, target] if !named(given) && !named(target) => {
                    self.output_and_target(measure, given, target, &mut bindings, &env, model_at)
                }
                _ => None,
            },
            Some(_) => {
                self.output_alone(measure, definition.signature().and_then(|s| s.input.as_ref()), &env, model_at)
            }
            None => None,
        };
        if measure.call.on.is_some() {
            self.bounds_of_a_measure(&definition, &measure.call.arguments, &bindings, at);
        }
    }

    /// `[1] -> [1]`: a loss of an output that is held against nothing.
    fn output_alone(&mut self, measure: &Measure, given: Option<&Type>, env: &EnvRef, model_at: Origin) -> Option<On> {
        let given = given?;
        let output = self.output_of(measure, given, env, model_at)?;
        let stream = self.graph.streams[output.stream.0].clone();
        if let Err(mismatch) = self.match_tensor(given, &stream, &mut Default::default(), env)? {
            let name = &measure.call.name;
            let message = format!("`{name}` cannot measure what the model gives");
            let label = format!("takes {}", mismatch.expected);
            let diagnostic = Diagnostic::error(Code::Measure, message, measure.at, label);
            let diagnostic = diagnostic.also(model_at, format!("gives {stream}"));
            self.report(mismatch.notes.into_iter().fold(diagnostic, Diagnostic::note));
            return None;
        }
        Some(On { outputs: vec![output.name], fields: Vec::new() })
    }

    /// `({ trajectories : [k, 30, 2] }, { future : [30, 2] })`: outputs of the model and fields of the data by their
    /// names; of one record alone, each part is the one or the other.
    fn by_names(
        &mut self,
        measure: &str,
        parts: &[NamedParts<'_>],
        bindings: &mut Bindings,
        env: &EnvRef,
        at: Origin,
        model_at: Origin,
    ) -> Option<On> {
        let data = self.data.clone()?;
        let mut on = On { outputs: Vec::new(), fields: Vec::new() };
        let parts =
            parts.iter().flat_map(|(side, parts)| parts.iter().map(|(name, ty)| (*side, name.text.as_str(), ty)));
        // What the data lacks no other model can give: it is told first.
        let lacks = |part: &str| data.fields.iter().all(|(field, _)| field != part);
        let mut parts: Vec<_> = parts.collect();
        if let Some(missing) = parts.iter().position(|(side, part, _)| *side == Some(Side::Data) && lacks(part)) {
            parts.swap(0, missing);
        }
        for (side, part, ty) in parts {
            let output = self.graph.outputs.iter().find(|port| port.name == part && side != Some(Side::Data));
            let output = output.map(|port| self.graph.streams[port.stream.0].clone());
            let field = data.fields.iter().find(|(field, _)| field == part && side != Some(Side::Model));
            let (stream, from) = match (output, field) {
                (Some(stream), _) => {
                    on.outputs.push(part.to_owned());
                    (stream, model_at)
                }
                (None, Some((_, stream))) => {
                    on.fields.push(part.to_owned());
                    (stream.clone(), data.origin)
                }
                (None, None) => {
                    let names = |names: Vec<&str>| names.join("`, `");
                    let outputs = names(self.graph.outputs.iter().map(|port| port.name.as_str()).collect());
                    let fields = names(data.fields.iter().map(|(field, _)| field.as_str()).collect());
                    let diagnostic = Diagnostic::error(
                        Code::Measure,
                        format!("`{measure}` needs `{part}`"),
                        at,
                        format!("takes a `{part}`"),
                    )
                    .also(model_at, format!("gives `{outputs}`"))
                    .also(data.origin, format!("has `{fields}`"));
                    self.report(match side {
                        Some(Side::Data) => diagnostic.help(format!("take data that have `{part}`, or another metric")),
                        _ => diagnostic
                            .help(format!("give the output its name: `{{ {part}: … }}` at the end of the model")),
                    });
                    return None;
                }
            };
            if let Err(mismatch) = self.match_tensor(ty, &stream, bindings, env)? {
                let mut diagnostic = Diagnostic::error(
                    Code::Measure,
                    format!("`{part}` is not what `{measure}` takes"),
                    at,
                    format!("takes {}", mismatch.expected),
                )
                .also(from, format!("gives {stream}"));
                for note in mismatch.notes {
                    diagnostic = diagnostic.note(note);
                }
                self.report(diagnostic);
                return None;
            }
        }
        Some(on)
    }

    /// `([classes], class(classes))`: an output of the model and what it is held against.
    fn output_and_target(
        &mut self,
        measure: &Measure,
        given: &Type,
        target: &Type,
        bindings: &mut Bindings,
        env: &EnvRef,
        model_at: Origin,
    ) -> Option<On> {
        let data = self.data.clone()?;
        let (name, at) = (&measure.call.name, measure.at);
        let output = self.output_of(measure, given, env, model_at)?;
        let stream = self.graph.streams[output.stream.0].clone();
        let wants_label = matches!(target.kind, TypeKind::Named(..) | TypeKind::Of { .. });
        let of_its_kind = |field: &Stream| field.classes.is_some() == wants_label;
        let mut fields: Vec<(String, Stream)> =
            data.fields.iter().filter(|(_, field)| of_its_kind(field)).cloned().collect();
        if let Some(named) = fields.iter().find(|(field, _)| *field == output.name).cloned() {
            fields = vec![named];
        }
        let is_input = |field: &str| self.graph.inputs.iter().any(|port| port.name == field);
        if fields.len() > 1 {
            fields.retain(|(field, _)| !is_input(field));
        }
        // One that the model takes in may be meant, and seldom is.
        let evident = |field: &str| field == output.name || !is_input(field);
        let only = matches!(fields.as_slice(), [(field, _)] if wants_label || evident(field));
        if !only && !fields.is_empty() {
            let fits: Vec<(String, Stream)> = fields
                .iter()
                .filter(|(_, field)| self.fit_together((given, &stream), (target, field), env))
                .cloned()
                .collect();
            match fits.len() {
                // The output may be what is wrong: it is held against what is given to it below.
                0 if wants_label => {}
                0 => fields.clear(),
                _ => fields = fits,
            }
        }
        let (field, target_stream) = match fields.as_slice() {
            [(field, stream)] => (field.clone(), stream.clone()),
            [] => {
                let (message, label) = match wants_label {
                    true => (format!("`{name}` needs labels, and the data has none"), "measures against labels"),
                    false => (
                        format!("none of the data's fields fits `{name}`"),
                        "measures against a tensor that fits its output",
                    ),
                };
                let diagnostic = Diagnostic::error(Code::Measure, message, at, label)
                    .also(model_at, format!("gives {stream}"))
                    .also(data.origin, fields_in_words(&data));
                let others = self.measures_that_fit(measure, &stream, &data);
                self.report(match others.as_slice() {
                    [] if wants_label => diagnostic.help("labels are fields of the type `class(n)`, as `imagenet` has"),
                    [] => diagnostic.help("end the model in what a field of the data is, or take other data"),
                    [(other, field)] => {
                        diagnostic.help(format!("`{other}` would fit: it holds what the model gives against `{field}`"))
                    }
                    several => {
                        let names: Vec<&str> = several.iter().map(|(other, _)| other.as_str()).collect();
                        diagnostic.help(format!("of the library, `{}` would fit", names.join("`, `")))
                    }
                });
                return None;
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(field, _)| field.as_str()).collect();
                self.report(
                    Diagnostic::error(
                        Code::Measure,
                        format!("it is not clear what `{name}` measures against"),
                        at,
                        "which field of the data?",
                    )
                    .also(data.origin, format!("has `{}`", names.join("`, `")))
                    .help(format!(
                        "give the output the name of the field: `{{ {}: … }}` at the end of the model",
                        names[0]
                    )),
                );
                return None;
            }
        };
        // `..` of the two is the same, and the data's field is not changed by a forgotten head.
        let rest = &target_stream.shape.0;
        if let Err(mismatch) = self.match_tensor_beside(given, rest, &stream, bindings, env)? {
            let end = Origin { file: model_at.file, span: Span::new(model_at.span.end, model_at.span.end) };
            let a_number_a_class = wants_label && mismatch.expected == "[classes]";
            let takes = if a_number_a_class {
                "takes one number a class: [classes]".to_owned()
            } else {
                format!("takes {}", mismatch.expected)
            };
            let mut diagnostic =
                Diagnostic::error(Code::Measure, format!("`{name}` cannot measure what the model gives"), at, takes)
                    .also(model_at, format!("gives {stream}"));
            diagnostic = match (a_number_a_class, stream.shape.0.len()) {
                (true, 2) if stream.shape.0.last() == target_stream.classes.as_ref() => {
                    diagnostic.replace("average the tokens", end, " >> mean_tokens")
                }
                (true, 2) => diagnostic.replace("end the model in a head", end, " >> head"),
                (true, _) => diagnostic.help("end the model in something that gives one number a class"),
                (false, _) => mismatch.notes.into_iter().fold(diagnostic, Diagnostic::note),
            };
            self.report(diagnostic);
            return None;
        }
        if let Err(mismatch) = self.match_tensor(target, &target_stream, bindings, env)? {
            let diagnostic = match (stream.shape.0.last(), &target_stream.classes) {
                (Some(Dim::Known(gives)), Some(Dim::Known(has))) if wants_label => Diagnostic::error(
                    Code::Classes,
                    format!("the model tells {gives} classes apart, and the data has {has}"),
                    model_at,
                    format!("gives {stream}"),
                )
                .also(data.origin, format!("`{field}` is one of {has} classes"))
                .help("`data.classes` is the number that the data has; `head` without an argument takes it by itself"),
                _ => Diagnostic::error(
                    Code::Measure,
                    format!("`{name}` cannot hold `{}` against `{field}`", output.name),
                    at,
                    format!("takes {} to hold it against", mismatch.expected),
                )
                .also(model_at, format!("gives {stream}"))
                .also(data.origin, format!("`{field}` is {target_stream}"))
                .help(format!("let the model give what `{field}` is, or take other data")),
            };
            self.report(diagnostic);
            return None;
        }
        Some(On { outputs: vec![output.name], fields: vec![field] })
    }

    /// Whether an output and a field of the data are what a measure takes, both together.
    fn fit_together(&mut self, output: (&Type, &Stream), field: (&Type, &Stream), env: &EnvRef) -> bool {
        self.quietly(|this| {
            let mut bindings = Default::default();
            [output, field]
                .into_iter()
                .all(|(ty, stream)| matches!(this.match_tensor(ty, stream, &mut bindings, env), Some(Ok(()))))
        })
    }

    /// Losses, or metrics, that are seen here and can hold `stream` against a field of the data: their names, each with
    /// the field.
    fn measures_that_fit(&mut self, measure: &Measure, stream: &Stream, data: &Data) -> Vec<(String, String)> {
        let is_input = |field: &str| self.graph.inputs.iter().any(|port| port.name == field);
        let targets: Vec<(String, Stream)> =
            data.fields.iter().filter(|(field, _)| !is_input(field)).cloned().collect();
        let mut names = library::definition_names(&measure.call.kind);
        names.sort();
        let mut fitting = Vec::new();
        for name in names {
            let Found::One(definition) = self.modules.find(measure.at.file, &name) else { continue };
            let Some(Type { kind: TypeKind::Tuple(parts), .. }) = definition.signature().and_then(|s| s.input.as_ref())
            else {
                continue;
            };
            let [given, target] = parts.as_slice() else { continue };
            if [given, target].into_iter().any(|part| matches!(part.kind, TypeKind::Record(_))) {
                continue;
            }
            let left_out = definition.params().iter().map(|_| None).collect();
            let Some(bound) = self.quietly(|this| this.complete(&definition, left_out, measure.at)) else { continue };
            let arguments = bound.into_iter().map(|bound| (bound.name, bound.value)).collect();
            let env = Env::within(&Env::top(definition.file), arguments);
            let label = matches!(target.kind, TypeKind::Named(..) | TypeKind::Of { .. });
            let field = targets
                .iter()
                .filter(|(_, field)| field.classes.is_some() == label)
                .find(|(_, field)| self.fit_together((given, stream), (target, field), &env));
            fitting.extend(field.map(|(field, _)| (name, field.clone())));
        }
        fitting
    }

    /// The output that a loss or metric is of: the one it names, the only one, or the only one that fits.
    fn output_of(&mut self, measure: &Measure, given: &Type, env: &EnvRef, model_at: Origin) -> Option<Port> {
        let outputs = self.graph.outputs.clone();
        if let Some((wanted, wanted_at)) = &measure.output {
            if let Some(port) = outputs.iter().find(|port| port.name == *wanted) {
                return Some(port.clone());
            }
            let known: Vec<&str> = outputs.iter().map(|port| port.name.as_str()).collect();
            let diagnostic = Diagnostic::error(
                Code::Measure,
                format!("the model gives no `{wanted}`"),
                *wanted_at,
                "not an output of the model",
            )
            .also(model_at, format!("gives `{}`", known.join("`, `")));
            let diagnostic = match nearest(wanted, known.iter().copied()) {
                Some(_) if *wanted_at != measure.at => diagnostic.did_you_mean(wanted, &known, *wanted_at),
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help(format!("end the model in a record: `{{ {wanted}: … }}`")),
            };
            self.report(diagnostic);
            return None;
        }
        if let [output] = outputs.as_slice() {
            return Some(output.clone());
        }
        let fits = |this: &mut Self, port: &Port| {
            let stream = this.graph.streams[port.stream.0].clone();
            this.quietly(|this| matches!(this.match_tensor(given, &stream, &mut Default::default(), env), Some(Ok(()))))
        };
        let fitting: Vec<&Port> = outputs.iter().filter(|port| fits(self, port)).collect();
        if let [output] = fitting.as_slice() {
            return Some((*output).clone());
        }
        let name = &measure.call.name;
        let diagnostic = Diagnostic::error(
            Code::Measure,
            format!("`{name}` measures one output, and the model gives {}", outputs.len()),
            measure.at,
            "measures one output",
        )
        .also(model_at, format!("gives {}", outputs.len()));
        let first = outputs.first().map_or("", |port| port.name.as_str());
        self.report(if first.starts_with("output.") {
            diagnostic.help("name the outputs, and what is measured of them: `{ answer: x, pose: y }`")
        } else {
            let setting = if measure.call.kind == "loss" { "train.loss" } else { "eval" };
            diagnostic.help(format!("say of which: `{setting} = {{ {first}: {name} }}`"))
        });
        None
    }

    /// What is trained must reach an output.
    pub(crate) fn check_reach(&mut self) {
        let needed = self.graph.needed_for(self.graph.outputs.iter().map(|port| port.stream));
        let mut lost = Vec::new();
        for (node, needed) in self.graph.nodes.iter().zip(&needed) {
            let trains = node.parameters.iter().any(|(_, id)| self.graph.parameters[id.0].is_trained());
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
}

/// ``has `image`, [3, 224, 224], and `label`, class(1000)``.
fn fields_in_words(data: &Data) -> String {
    let fields: Vec<String> = data.fields.iter().map(|(field, stream)| format!("`{field}` is {stream}")).collect();
    match fields.len() {
        0..=6 => fields.join(", "),
        many => format!("{} and {} more", fields[..5].join(", "), many - 5),
    }
}
