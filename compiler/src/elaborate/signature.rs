//! Streams against the signature of a layer: what flows in, and what its body gives.

use std::rc::Rc;

use lmv_grammar::ast::{Span, Type, TypeKind};

use super::Elaborator;
use super::matching::{Bindings, Mismatch, tensor};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::graph::StreamId;
use crate::shape::{Dim, Shape};
use crate::source::Origin;
use crate::value::{Bound, Definition, EnvRef, Made, StreamValue, Value};

/// What came of matching an input: it fits, or it does not and the output can be told all the same, or it cannot.
pub(super) enum Fit {
    Fits,
    Promised,
    Lost,
}

/// A layer at the place where it is put onto a stream.
pub(super) struct Use<'u> {
    pub definition: &'u Rc<Definition>,
    pub bound: &'u [Bound],
    pub at: Origin,
}

impl Elaborator<'_> {
    /// The input that a first layer's signature asks for, in a spec that says nothing else about it.
    pub(super) fn assume_input(&mut self, pattern: &Type, env: &EnvRef, at: Origin) -> Option<Value> {
        if self.symbolic {
            return None;
        }
        let Some(tensor) = tensor(pattern) else {
            self.report(
                Diagnostic::error(
                    Code::UnknownInput,
                    "the input of the model is not known",
                    at,
                    "takes several streams",
                )
                .help("name them: `model(image, text) { … }`, and say what they are by `data = …`"),
            );
            return None;
        };
        let (shape, classes) = self.tensor_of(&tensor, &Bindings::default(), env, at)?;
        if shape.0.iter().any(|dim| dim.known().is_none()) {
            self.report(
                Diagnostic::error(
                    Code::UnknownInput,
                    "the shape of the input is not known here",
                    at,
                    format!("takes {shape}, whatever its size"),
                )
                .help("give the spec a `data = …`, or write the input out: `model(x : [3, 32, 32]) { x >> … }`"),
            );
            return None;
        }
        Some(self.input("input", shape, classes, at))
    }

    /// Matches what flows in against the signature; what does not fit is reported.
    pub(super) fn match_input(
        &mut self,
        layer: &Use<'_>,
        pattern: &Type,
        input: &Value,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> Fit {
        let pairs = match pairs(pattern, input) {
            Ok(pairs) => pairs,
            Err(Uneven { takes, given }) => {
                let name = &layer.definition.name;
                let help = match (&pattern.kind, input) {
                    (TypeKind::Tuple(_), Value::Stream(_)) => format!("give it a tuple: `(a, b) >> {name}`"),
                    (TypeKind::Shape(_), Value::Tuple(items)) => format!(
                        "make one stream of them, as `add` or `concat` does, or run one {name} on each: `>> ({})`",
                        vec![format!("{name}(…)"); items.len().min(4)].join(", ")
                    ),
                    _ => String::new(),
                };
                let report = Diagnostic::error(
                    Code::Shape,
                    format!("`{name}` takes {takes}, and is given {given}"),
                    layer.at,
                    format!("takes {takes}"),
                )
                .also(layer.definition.origin(), "declared here");
                self.report(if help.is_empty() { report } else { report.help(help) });
                return Fit::Lost;
            }
        };
        let mut fit = Fit::Fits;
        for (pattern, stream) in pairs {
            let Value::Stream(stream) = stream else { return Fit::Lost };
            match self.match_in_frame(layer, pattern, stream, bindings, env) {
                None => return Fit::Lost,
                Some(Ok(())) => {}
                Some(Err(mismatch)) => {
                    fit = Fit::Promised;
                    let unbound = mismatch.unbound;
                    self.report_mismatch(layer, stream, mismatch);
                    if unbound {
                        return Fit::Lost;
                    }
                }
            }
        }
        fit
    }

    /// Matching may evaluate arithmetic of the signature; a mistake there is the caller's.
    fn match_in_frame(
        &mut self,
        layer: &Use<'_>,
        pattern: &Type,
        stream: &StreamValue,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> Option<Result<(), Mismatch>> {
        let stream = self.graph.streams[stream.id.0].clone();
        self.framed_use(layer, |this| this.match_tensor(pattern, &stream, bindings, env))?
    }

    fn report_mismatch(&mut self, layer: &Use<'_>, stream: &StreamValue, mismatch: Mismatch) {
        let (definition, bound, at) = (layer.definition, layer.bound, layer.at);
        let message = if stream.made.input {
            format!("the input does not fit `{}`", definition.name)
        } else {
            "these layers do not fit together".to_owned()
        };
        let shape = self.graph.shape(stream.id).clone();
        let turned = shape.0.len() >= 2 && {
            let mut dims = shape.0.clone();
            let last = dims.len() - 1;
            dims.swap(last, last - 1);
            dims[last] != dims[last - 1] && Shape(dims).to_string() == mismatch.expected
        };
        let gives = self.graph.streams[stream.id.0].to_string();
        let mut diagnostic = Diagnostic::error(Code::Shape, message, at, format!("takes {}", mismatch.expected));
        if stream.made.origin != at {
            diagnostic = diagnostic.also(stream.made.origin, format!("gives {gives}"));
        } else {
            diagnostic = diagnostic.note(format!("the stream is {gives}"));
        }
        for note in mismatch.notes {
            diagnostic = diagnostic.note(note);
        }
        if let Some(help) = mismatch.help {
            diagnostic = diagnostic.help(help);
        }
        if turned {
            diagnostic = diagnostic.help("the last two dims are the other way round: `>> transpose` turns them");
        } else if self.frames.last().is_some_and(|frame| frame.name == "residual") {
            diagnostic = diagnostic.help("`residual(f)` adds what `f` gives to what it takes: `f` must keep the shape");
        }
        let user = |origin: &Origin| !self.sources.get(origin.file).library;
        // Whichever of the two numbers stands in the user's file can be changed; the layer before is tried first.
        let before = stream.made.width;
        let here = (definition.name == "linear")
            .then(|| bound.iter().find(|b| b.name == "in"))
            .flatten()
            .and_then(|bound| bound.written);
        let found = shape.0.last().and_then(Dim::known);
        let (before, here) = (before.filter(user), here.filter(user));
        // Another argument than a width, as the number of tokens.
        let named_here = mismatch.named.filter(|_| definition.name != "linear" && mismatch.last.is_none()).and_then(
            |(name, found)| {
                let written = bound.iter().find(|bound| bound.name == name)?.written.filter(user)?;
                Some((name, found, written))
            },
        );
        // Where both could be changed, or what stands there is no plain number, it is for the user to say.
        let evident = |at: Origin| before.is_some() != here.is_some() && self.sources.text(at).parse::<i64>().is_ok();
        match (before, here, mismatch.last, found) {
            // The layer before it is the layer itself, a round earlier: another number would only move the error.
            _ if stream.made.origin == at => {
                diagnostic = diagnostic.help("it runs in rounds, and each must give what the next one takes");
            }
            (_, Some(here), Some(_), Some(found)) => {
                let message = format!("make this layer take {found}");
                diagnostic = diagnostic.propose(message, here, found.to_string(), evident(here));
            }
            (Some(before), _, Some(last), _) => {
                let message = format!("make the layer before it {last} wide");
                diagnostic = diagnostic.propose(message, before, last.to_string(), evident(before));
            }
            (None, None, ..) if named_here.is_some() => {
                if let Some((name, found, written)) = named_here {
                    diagnostic = diagnostic.replace(format!("make `{name}` {found}"), written, found.to_string());
                }
            }
            (None, None, Some(last), Some(found)) if user(&at) && user(&stream.made.origin) && !stream.made.input => {
                let after = Origin {
                    file: stream.made.origin.file,
                    span: Span::new(stream.made.origin.span.end, stream.made.origin.span.end),
                };
                diagnostic = diagnostic.replace(
                    "put a linear layer between them",
                    after,
                    format!(" >> linear({found}, {last})"),
                );
            }
            _ => {}
        }
        self.report(diagnostic);
    }

    /// After a reported mismatch: the output that the signature promises, so that the next layers are checked too.
    pub(super) fn carry_on(&mut self, definition: &Rc<Definition>, bindings: &Bindings, env: &EnvRef) -> Value {
        let Some(signature) = definition.signature() else { return Value::Error };
        let made = Rc::new(Made { origin: definition.origin(), width: None, input: false });
        let promised = |this: &mut Self| this.outputs(&signature.output, bindings, env, definition.origin(), &made);
        self.quietly(promised).map_or(Value::Error, |(value, _)| value)
    }

    /// Fresh streams of the types that a signature gives, as one value and in a row. `None` is a mistake that was
    /// reported.
    pub(super) fn outputs(
        &mut self,
        ty: &Type,
        bindings: &Bindings,
        env: &EnvRef,
        at: Origin,
        made: &Rc<Made>,
    ) -> Option<(Value, Vec<StreamId>)> {
        let several = |this: &mut Self, types: Vec<&Type>| {
            let (mut values, mut ids) = (Vec::new(), Vec::new());
            for ty in types {
                let (value, streams) = this.outputs(ty, bindings, env, at, made)?;
                values.push(value);
                ids.extend(streams);
            }
            Some((values, ids))
        };
        match &ty.kind {
            TypeKind::Tuple(items) => {
                several(self, items.iter().collect()).map(|(values, ids)| (Value::Tuple(values), ids))
            }
            TypeKind::Record(fields) => {
                let (values, ids) = several(self, fields.iter().map(|(_, ty)| ty).collect())?;
                let names = fields.iter().map(|(name, _)| name.text.clone());
                Some((Value::Record(names.zip(values).collect()), ids))
            }
            TypeKind::Shape(_) | TypeKind::Of { .. } | TypeKind::Named(..) => {
                let (shape, classes) = self.given_tensor(&tensor(ty)?, bindings, env, at)?;
                let id = self.stream(shape, classes);
                Some((Value::Stream(StreamValue { id, made: made.clone() }), vec![id]))
            }
        }
    }

    /// A body must give what its signature says.
    pub(super) fn check_output(
        &mut self,
        layer: &Use<'_>,
        pattern: &Type,
        output: &Value,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> bool {
        let definition = layer.definition;
        let message = format!("`{}` does not give what its signature says", definition.name);
        let pattern_at = Origin { file: definition.file, span: pattern.span };
        let used = |diagnostic: Diagnostic| match layer.at == definition.origin() {
            true => diagnostic,
            false => diagnostic.also(layer.at, "used here"),
        };
        let pairs = match pairs(pattern, output) {
            Ok(pairs) => pairs,
            Err(Uneven { takes, given }) => {
                let label = format!("says {takes}, and the body gives {given}");
                self.report(used(Diagnostic::error(Code::Signature, message, pattern_at, label)));
                return false;
            }
        };
        for (pattern, stream) in pairs {
            let Value::Stream(stream) = stream else { continue };
            match self.match_in_frame(layer, pattern, stream, bindings, env) {
                None => return false,
                Some(Ok(())) => {}
                Some(Err(mismatch)) => {
                    let gives = self.graph.streams[stream.id.0].to_string();
                    let at = Origin { file: definition.file, span: pattern.span };
                    let label = format!("says {}, and the body gives {gives}", mismatch.expected);
                    let mut diagnostic = used(Diagnostic::error(Code::Signature, message, at, label));
                    for note in mismatch.notes {
                        diagnostic = diagnostic.note(note.replace("it takes", "the signature says"));
                    }
                    self.report(
                        diagnostic.help("let the body end in what the signature says, or write there what it gives"),
                    );
                    return false;
                }
            }
        }
        true
    }
}

/// A pattern and a value that are not of one form, in words.
struct Uneven {
    takes: String,
    given: String,
}

/// Each tensor of a pattern with what stands in its place: tuples by their order, records by their names.
fn pairs<'p, 'v>(pattern: &'p Type, value: &'v Value) -> Result<Vec<(&'p Type, &'v Value)>, Uneven> {
    let uneven = || Uneven { takes: in_words(pattern), given: value_in_words(value) };
    match (&pattern.kind, value) {
        (TypeKind::Tuple(types), Value::Tuple(values)) if types.len() == values.len() => {
            let nested = types.iter().zip(values).map(|(ty, value)| pairs(ty, value));
            Ok(nested.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (TypeKind::Record(types), Value::Record(values)) if types.len() == values.len() => {
            let mut found = Vec::new();
            for (name, ty) in types {
                let (_, value) = values.iter().find(|(field, _)| *field == name.text).ok_or_else(uneven)?;
                found.extend(pairs(ty, value)?);
            }
            Ok(found)
        }
        (TypeKind::Tuple(_) | TypeKind::Record(_), _) | (_, Value::Tuple(_) | Value::Record(_)) => Err(uneven()),
        _ => Ok(vec![(pattern, value)]),
    }
}

fn in_words(pattern: &Type) -> String {
    match &pattern.kind {
        TypeKind::Tuple(types) => format!("{} streams", types.len()),
        TypeKind::Record(fields) => {
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.text.as_str()).collect();
            format!("a record of `{}`", names.join("`, `"))
        }
        _ => "one stream".to_owned(),
    }
}

fn value_in_words(value: &Value) -> String {
    match value {
        Value::Tuple(items) => format!("{} streams", items.len()),
        Value::Stream(_) => "one stream".to_owned(),
        other => other.kind(),
    }
}

/// The streams of a value in the order in which a pattern takes them.
pub(super) fn streams_in_order(pattern: Option<&Type>, value: &Value) -> Option<Vec<StreamId>> {
    let id = |value: &Value| match value {
        Value::Stream(stream) => Some(stream.id),
        _ => None,
    };
    match pattern {
        Some(pattern) => pairs(pattern, value).ok()?.into_iter().map(|(_, value)| id(value)).collect(),
        None => id(value).map(|id| vec![id]),
    }
}
