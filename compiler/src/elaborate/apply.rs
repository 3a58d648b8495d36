//! Layers onto streams.

use std::rc::Rc;

use lmv_grammar::ast::{Block, ExprKind, ItemKind, TypeKind};

use super::binding::names;
use super::eval::is_stream;
use super::matching::{Bindings, as_value};
use super::node::width_of;
use super::signature::{Fit, Use};
use super::{Elaborator, Fill, Kind, MOST_NODES, Place};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::graph::Stream;
use crate::modules::Found;
use crate::size::Size;
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, EnvRef, Layer, LayerKind, Llm, Made, ScopeRef, StreamValue, Value};

/// Where a layer's parameters go: below the scope under the layer's own name, or right here.
#[derive(Clone, Copy)]
enum Seat<'s> {
    Below(&'s ScopeRef),
    Here(&'s ScopeRef),
}

impl Seat<'_> {
    fn take(&self, name: &str, given: Option<&str>) -> ScopeRef {
        match self {
            Seat::Below(scope) => scope.child(given.unwrap_or(name)),
            Seat::Here(scope) => match given {
                Some(given) => scope.child(given),
                None => (*scope).clone(),
            },
        }
    }
}

impl Elaborator<'_> {
    /// One step of a pipe: runs `layer` on `input`; what comes out is known by this step from here on.
    pub(crate) fn step(&mut self, layer: Value, input: Value, place: &Place, at: Origin) -> Value {
        let made = made_by(&layer, at);
        let output = self.apply(&layer, input, Seat::Below(&place.scope), at);
        remade(output, &made)
    }

    fn apply(&mut self, layer: &Value, input: Value, seat: Seat<'_>, at: Origin) -> Value {
        if matches!(input, Value::Error) || !self.enter(at) {
            return Value::Error;
        }
        let output = self.apply_value(layer, input, seat, at);
        self.leave();
        output
    }

    fn apply_value(&mut self, layer: &Value, input: Value, seat: Seat<'_>, at: Origin) -> Value {
        match layer {
            Value::Error | Value::Param(_) => Value::Error,
            Value::Layer(layer) => self.apply_layer(layer, input, seat, at),
            Value::Definition(definition) if definition.sort() == "layer" => {
                let given = definition.params().iter().map(|_| None).collect();
                let Some(bound) = self.complete(definition, given, at) else { return Value::Error };
                self.apply_definition(definition, &bound, input, seat, None, at)
            }
            Value::Tuple(items) => self.fan(items, &input, seat, at),
            Value::Llm(llm) => self.report(
                Diagnostic::error(
                    Code::NotALayer,
                    format!("`{}` is a whole language model", llm.name),
                    at,
                    "which block of it?",
                )
                .replace("its last block", at, format!("{}.layer[{}]", llm.name, llm.layers - 1)),
            ),
            Value::LlmLayers(llm) => self.report(
                Diagnostic::error(Code::NotALayer, "which block of the language model?", at, "no block is picked")
                    .help(format!("its last block is `{}.layer[{}]`", llm.name, llm.layers - 1)),
            ),
            other => {
                let what = format!("this is {}", other.kind());
                let diagnostic = Diagnostic::error(Code::NotALayer, "a layer is expected here", at, what);
                self.report(match other {
                    Value::List(_) => diagnostic.help("layers one after the other are a pipe: `a >> b`"),
                    _ => diagnostic.help("a step is a layer, as `gelu` or `linear(384, 384)`"),
                })
            }
        }
    }

    fn apply_layer(&mut self, layer: &Layer, input: Value, seat: Seat<'_>, at: Origin) -> Value {
        // A layer that was handed over as an argument keeps its place in parameter paths.
        let seat = match &layer.scope {
            Some(scope) => Seat::Below(scope),
            None => seat,
        };
        let given = layer.name.as_deref();
        match &layer.kind {
            LayerKind::Definition { definition, bound } => {
                self.apply_definition(definition, bound, input, seat, given, at)
            }
            LayerKind::Pipe(steps) => {
                let own = given.map(|name| seat.take(name, given));
                let scope = match (&own, seat) {
                    (Some(own), _) => own,
                    (None, Seat::Below(scope) | Seat::Here(scope)) => scope,
                };
                let mut value = input;
                for step in steps {
                    let step_at = origin_of(step).filter(|origin| self.is_shown(*origin, at)).unwrap_or(at);
                    let made = made_by(step, step_at);
                    value = self.apply(step, value, Seat::Below(scope), step_at);
                    value = remade(value, &made);
                }
                value
            }
            LayerKind::Repeat { count: None, var, body, env } => {
                // One round stands for all, if it gives what it takes.
                let taken = self.shapes(&input);
                let mut bound = vec![("input".to_owned(), input.clone())];
                bound.extend(var.iter().map(|var| (var.clone(), Value::Param(Size::argument(var)))));
                let output = self.body(body, input, Env::within(env, bound), &seat.take("repeat", given));
                if taken.is_some() && self.shapes(&output) == taken { output } else { Value::Error }
            }
            LayerKind::Repeat { count: Some(count), var, body, env } => {
                if *count < 0 {
                    return self.report(Diagnostic::error(
                        Code::OutOfRange,
                        format!("`repeat` of {count} rounds"),
                        at,
                        "there are no rounds below zero",
                    ));
                }
                if *count > MOST_NODES as i64 {
                    return self.stop(Diagnostic::error(
                        Code::TooLarge,
                        format!("`repeat` of {count} rounds"),
                        at,
                        format!("at most {MOST_NODES} rounds"),
                    ));
                }
                let scope = seat.take("repeat", given);
                let mut value = input;
                for round in 0..*count {
                    if matches!(value, Value::Error) || self.stopped {
                        return Value::Error;
                    }
                    let mut bound = vec![("input".to_owned(), value.clone())];
                    bound.extend(var.iter().map(|var| (var.clone(), Value::int(round))));
                    let here = scope.child(&round.to_string());
                    value = self.body(body, value, Env::within(env, bound), &here);
                }
                value
            }
            LayerKind::Mark { mark, inner } => {
                let base = match seat {
                    Seat::Below(scope) | Seat::Here(scope) => scope.path.clone(),
                };
                let named = match (inner, given) {
                    (Value::Layer(layer), Some(name)) if layer.name.is_none() => self.named(inner.clone(), name, at),
                    (Value::Definition(_), Some(name)) => self.named(inner.clone(), name, at),
                    _ => inner.clone(),
                };
                self.marked(mark, at, &base, |this| this.apply(&named, input, seat, at))
            }
            LayerKind::Shared { inner, place, sharing } => {
                // What is shared is shared with uses elsewhere.
                self.singular += 1;
                let place = place.of_a_use(sharing);
                let before = self.shared.replace(sharing.clone());
                let output = self.apply(inner, input, Seat::Below(&place), at);
                self.shared = before;
                output
            }
            LayerKind::OneOf(layers) => {
                let outputs: Vec<Value> =
                    layers.iter().map(|layer| self.apply(layer, input.clone(), seat, at)).collect();
                let shapes: Vec<_> = outputs.iter().map(|output| self.shapes(output)).collect();
                match outputs.into_iter().next() {
                    Some(first) if shapes[0].is_some() && shapes.iter().all(|s| *s == shapes[0]) => first,
                    _ => Value::Error,
                }
            }
            LayerKind::Blocks { llm, first, end, overrides } => {
                let mut value = input;
                for index in *first..*end {
                    if matches!(value, Value::Error) || self.stopped {
                        return Value::Error;
                    }
                    let scope = seat.take(&format!("{}.layer.{index}", llm.name), given);
                    value = self.llm_block(llm, index, overrides, value, &scope, at);
                }
                value
            }
        }
    }

    /// Whether a layer that is applied at `at` is shown where it was written: in the same file, or in another one of the
    /// user's.
    fn is_shown(&self, written: Origin, at: Origin) -> bool {
        written.file == at.file || !self.sources.get(written.file).library
    }

    /// `x >> (f, g)` runs both on x; `(x, y) >> (f, g)` runs each on its own.
    fn fan(&mut self, items: &[Value], input: &Value, seat: Seat<'_>, at: Origin) -> Value {
        let inputs: Vec<Value> = match input {
            Value::Tuple(inputs) if inputs.len() == items.len() => inputs.clone(),
            Value::Tuple(inputs) => {
                return self.report(Diagnostic::error(
                    Code::Shape,
                    format!("{} streams meet {} layers", inputs.len(), items.len()),
                    at,
                    format!("{} layers side by side", items.len()),
                ));
            }
            one => vec![one.clone(); items.len()],
        };
        let (Seat::Below(scope) | Seat::Here(scope)) = seat;
        let outputs: Vec<Value> = items
            .iter()
            .zip(inputs)
            .map(|(item, input)| {
                let item_at = origin_of(item).filter(|origin| self.is_shown(*origin, at)).unwrap_or(at);
                self.apply(item, input, Seat::Below(scope), item_at)
            })
            .collect();
        if outputs.iter().any(|output| matches!(output, Value::Error)) { Value::Error } else { Value::Tuple(outputs) }
    }

    /// What a value of streams is made of; `None` for what is none.
    fn shapes(&self, value: &Value) -> Option<Vec<Stream>> {
        match value {
            Value::Stream(stream) => Some(vec![self.graph.streams[stream.id.0].clone()]),
            Value::Tuple(items) => {
                items.iter().map(|item| self.shapes(item)).collect::<Option<Vec<_>>>().map(|shapes| shapes.concat())
            }
            _ => None,
        }
    }

    fn llm_block(
        &mut self,
        llm: &Rc<Llm>,
        index: i64,
        overrides: &[Bound],
        input: Value,
        scope: &ScopeRef,
        at: Origin,
    ) -> Value {
        // `extern llm llama(…) : llama_block` names the layer that its blocks are.
        let block = match llm.definition.signature().map(|signature| &signature.output.kind) {
            Some(TypeKind::Named(name, _)) => match self.modules.find(llm.definition.file, &name.text) {
                Found::One(block) => Some(block),
                _ => None,
            },
            _ => None,
        };
        let Some(block) = block else {
            return self.report(Diagnostic::error(
                Code::UnknownName,
                format!("`{}` does not say which layer its blocks are", llm.definition.name),
                llm.definition.origin(),
                "declared here",
            ));
        };
        let given = block
            .params()
            .iter()
            .map(|param| {
                let of = |from: &[Bound]| from.iter().rev().find(|bound| bound.name == param.name.text).cloned();
                of(overrides).or_else(|| of(&llm.bound)).map(|bound| Bound { written: None, ..bound })
            })
            .collect();
        let Some(bound) = self.complete(&block, given, at) else { return Value::Error };
        let before = self.marks.clone();
        if self.marks.fill.is_none() {
            // `index` lies between 0 and the number of blocks: the checker of indices saw to it.
            let layer = usize::try_from(index).unwrap_or(0);
            let llm = with_overrides(llm, overrides);
            self.marks.fill = Some(Fill::Block { llm, layer, base: scope.path.clone() });
        }
        let output = self.apply_definition(&block, &bound, input, Seat::Here(scope), None, at);
        self.marks = before;
        output
    }

    fn apply_definition(
        &mut self,
        definition: &Rc<Definition>,
        bound: &[Bound],
        input: Value,
        seat: Seat<'_>,
        given: Option<&str>,
        at: Origin,
    ) -> Value {
        let env = Env::within(&Env::top(definition.file), names(bound));
        let mut bindings = Bindings::default();
        let mut input = input;
        let layer = Use { definition, bound, at };
        if let Some(pattern) = definition.signature().and_then(|signature| signature.input.as_ref()) {
            if let Value::UnknownInput = input {
                let Some(known) = self.assume_input(pattern, &env, at) else { return Value::Error };
                input = known;
            }
            match self.match_input(&layer, pattern, &input, &mut bindings, &env) {
                Fit::Fits => {}
                Fit::Promised => return self.carry_on(definition, &bindings, &env),
                Fit::Lost => return Value::Error,
            }
        }
        let dims = bindings.dims.iter().map(|(name, dim)| (name.clone(), as_value(dim))).collect();
        let env = Env::within(&env, dims);
        match definition.kind() {
            ItemKind::Extern { facts, .. } if !(self.by_meaning && definition.body().is_some()) => {
                let scope = seat.take(&definition.name, given);
                let run = |this: &mut Self| this.node(&layer, facts, input, &bindings, &env, &scope);
                self.framed_use(&layer, run).unwrap_or(Value::Error)
            }
            ItemKind::Define { signature, .. } | ItemKind::Extern { signature, .. } => {
                let Some(body) = definition.body() else { return Value::Error };
                let scope = seat.take(&definition.name, given);
                if let Some(output) = self.known(&layer, &input, &scope) {
                    return output;
                }
                let begun = self.begun(&layer, &input);
                let env = Env::within(&env, vec![("input".to_owned(), input.clone())]);
                let output =
                    self.framed_use(&layer, |this| this.body(body, input, env.clone(), &scope)).unwrap_or(Value::Error);
                if let (Some(signature), false) = (signature, matches!(output, Value::Error))
                    && !self.check_output(&layer, &signature.output, &output, &mut bindings, &env)
                {
                    return Value::Error;
                }
                if let Some(begun) = begun {
                    self.remember(begun, &layer, &output);
                }
                output
            }
            _ => self.report(Diagnostic::error(
                Code::NotALayer,
                format!("`{}` is not a layer", definition.name),
                at,
                format!("this is a {}", definition.sort()),
            )),
        }
    }

    /// A body run on a stream. A body that is one single layer *is* that layer: it adds nothing to parameter paths.
    pub(super) fn body(&mut self, body: &Block, input: Value, env: EnvRef, scope: &ScopeRef) -> Value {
        let file = env.file;
        let place = Place { env, scope: scope.clone() };
        let value = self.block_for(Some(Kind::Layer), body, &place);
        if is_stream(&value) || matches!(value, Value::Error) {
            return value;
        }
        let result_at = Origin { file, span: body.result.span };
        let single = body.lets.is_empty() && !matches!(body.result.kind, ExprKind::Pipe(_) | ExprKind::Tuple(_));
        let seat = if single { Seat::Here(scope) } else { Seat::Below(scope) };
        let value = match value {
            Value::Layer(layer) if layer.scope.as_ref().is_some_and(|own| Rc::ptr_eq(own, scope)) => {
                Value::Layer(Rc::new(Layer { scope: None, ..(*layer).clone() }))
            }
            other => other,
        };
        self.apply(&value, input, seat, result_at)
    }
}

fn origin_of(value: &Value) -> Option<Origin> {
    match value {
        Value::Layer(layer) => Some(layer.origin),
        _ => None,
    }
}

fn made_by(layer: &Value, at: Origin) -> Rc<Made> {
    let mut inner = layer.clone();
    while let Value::Layer(layer) = &inner {
        match &layer.kind {
            LayerKind::Mark { inner: within, mark: _ } => {
                let within: Value = within.clone();
                inner = within;
            }
            LayerKind::Definition { definition, bound } => {
                return Rc::new(Made { origin: at, width: width_of(definition, bound), input: false });
            }
            _ => break,
        }
    }
    Rc::new(Made { origin: at, width: None, input: false })
}

fn remade(value: Value, made: &Rc<Made>) -> Value {
    match value {
        Value::Stream(stream) => Value::Stream(StreamValue { made: made.clone(), ..stream }),
        Value::Tuple(items) => Value::Tuple(items.into_iter().map(|item| remade(item, made)).collect()),
        Value::Record(fields) => {
            Value::Record(fields.into_iter().map(|(name, value)| (name, remade(value, made))).collect())
        }
        other => other,
    }
}

/// The language model as one use of its blocks has it: `llama7b.layer[31](rope = true)`.
fn with_overrides(llm: &Rc<Llm>, overrides: &[Bound]) -> Rc<Llm> {
    let mut used = llm.clone();
    for bound in overrides {
        if let Value::Config(value) = &bound.value {
            Rc::make_mut(&mut used).sizes.sizes.insert(bound.name.clone(), value.clone());
        }
    }
    used
}
