//! Layers onto streams.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Block, ExprKind, Fact, ItemKind, Type, TypeKind};

use super::binding::names;
use super::eval::is_stream;
use super::matching::{Bindings, Mismatch, as_value, dims_of};
use super::{Elaborator, Fill, MOST_NODES, MOST_NUMBERS, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::graph::{Filling, Node, Parameter, ParameterId, StreamId};
use crate::modules::Found;
use crate::shape::{Dim, Shape};
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, EnvRef, Layer, LayerKind, Llm, Made, Scope, ScopeRef, StreamValue, Value};

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
            Value::Error => Value::Error,
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
            other => self.report(Diagnostic::error(
                Code::NotALayer,
                "a layer is expected here",
                at,
                format!("this is {}", other.kind()),
            )),
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
                    let step_at = origin_of(step).filter(|origin| origin.file == at.file).unwrap_or(at);
                    let made = made_by(step, step_at);
                    value = self.apply(step, value, Seat::Below(scope), step_at);
                    value = remade(value, &made);
                }
                value
            }
            LayerKind::Repeat { count, var, body, env } => {
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
                let named = named_inner(inner, given);
                self.marked(mark, at, &base, |this| this.apply(&named, input, seat, at))
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
                self.apply(item, input, Seat::Below(scope), origin_of(item).filter(|o| o.file == at.file).unwrap_or(at))
            })
            .collect();
        if outputs.iter().any(|output| matches!(output, Value::Error)) { Value::Error } else { Value::Tuple(outputs) }
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
            self.marks.fill = Some(Fill::Block { llm: llm.clone(), layer, base: scope.path.clone() });
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
        if let Some(pattern) = definition.signature().and_then(|signature| signature.input.as_ref()) {
            if let Value::UnknownInput = input {
                let Some(known) = self.assume_input(pattern, &env, at) else { return Value::Error };
                input = known;
            }
            match self.match_input(definition, bound, pattern, &input, &mut bindings, &env, at) {
                Ok(true) => {}
                Ok(false) => return self.carry_on(definition, &bindings, &env),
                Err(()) => return Value::Error,
            }
        }
        let dims = bindings.dims.iter().map(|(name, dim)| (name.clone(), as_value(dim))).collect();
        let env = Env::within(&env, dims);
        match definition.kind() {
            ItemKind::Extern { facts, .. } => {
                let scope = seat.take(&definition.name, given);
                let run = |this: &mut Self| this.node(definition, bound, facts, input, &bindings, &env, &scope, at);
                self.framed(&definition.name, at, run).unwrap_or(Value::Error)
            }
            ItemKind::Define { body, signature, .. } => {
                let scope = seat.take(&definition.name, given);
                let env = Env::within(&env, vec![("input".to_owned(), input.clone())]);
                let output = self
                    .framed(&definition.name, at, |this| this.body(body, input, env.clone(), &scope))
                    .unwrap_or(Value::Error);
                if let (Some(signature), false) = (signature, matches!(output, Value::Error))
                    && !self.check_output(definition, &signature.output, &output, &mut bindings, &env, at)
                {
                    return Value::Error;
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
    fn body(&mut self, body: &Block, input: Value, env: EnvRef, scope: &ScopeRef) -> Value {
        let file = env.file;
        let place = Place { env, scope: scope.clone() };
        let value = self.block(body, &place);
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

    /// The input that a first layer's signature asks for, in a spec that says nothing else about it.
    fn assume_input(&mut self, pattern: &Type, env: &EnvRef, at: Origin) -> Option<Value> {
        let Some(dims) = dims_of(pattern) else {
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
        let shape = self.shape_of(dims, &Bindings::default(), env, at)?;
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
        Some(self.input("input", shape, at))
    }

    /// Matches what flows in against the signature: `Ok(true)` fits, `Ok(false)` was reported and the output can still
    /// be told, `Err` was reported and nothing can be told.
    #[allow(clippy::too_many_arguments)] // The two sides of a match and where both stand.
    fn match_input(
        &mut self,
        definition: &Rc<Definition>,
        bound: &[Bound],
        pattern: &Type,
        input: &Value,
        bindings: &mut Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> Result<bool, ()> {
        let patterns: Vec<&Type> = match &pattern.kind {
            TypeKind::Tuple(items) => items.iter().collect(),
            _ => vec![pattern],
        };
        let streams: Vec<&Value> = match input {
            Value::Tuple(items) => items.iter().collect(),
            one => vec![one],
        };
        if patterns.len() != streams.len() {
            let count = |n: usize| if n == 1 { "one stream".to_owned() } else { format!("{n} streams") };
            self.report(
                Diagnostic::error(
                    Code::Shape,
                    format!(
                        "`{}` takes {}, and is given {}",
                        definition.name,
                        count(patterns.len()),
                        count(streams.len())
                    ),
                    at,
                    format!("takes {}", count(patterns.len())),
                )
                .also(definition.origin(), "declared here"),
            );
            return Err(());
        }
        let mut fits = true;
        for (pattern, stream) in patterns.into_iter().zip(streams) {
            let Value::Stream(stream) = stream else { return Err(()) };
            let Some(dims) = dims_of(pattern) else { continue };
            let shape = self.graph.shape(stream.id).clone();
            match self.match_in_frame(definition, dims, &shape, bindings, env, at).ok_or(())? {
                Ok(()) => {}
                Err(mismatch) => {
                    fits = false;
                    let rank = mismatch.notes.iter().any(|note| note.contains("per sample"));
                    self.report_mismatch(definition, bound, stream, &shape, mismatch, at);
                    if rank {
                        return Err(());
                    }
                }
            }
        }
        Ok(fits)
    }

    /// Matching may evaluate arithmetic of the signature; a mistake there is the caller's.
    fn match_in_frame(
        &mut self,
        definition: &Rc<Definition>,
        dims: &[lmv_grammar::ast::DimExpr],
        shape: &Shape,
        bindings: &mut Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> Option<Result<(), Mismatch>> {
        self.framed(&definition.name, at, |this| this.match_shape(dims, shape, bindings, env))?
    }

    fn report_mismatch(
        &mut self,
        definition: &Definition,
        bound: &[Bound],
        stream: &StreamValue,
        shape: &Shape,
        mismatch: Mismatch,
        at: Origin,
    ) {
        let message = if stream.made.input {
            format!("the input does not fit `{}`", definition.name)
        } else {
            "these layers do not fit together".to_owned()
        };
        let mut diagnostic = Diagnostic::error(Code::Shape, message, at, format!("takes {}", mismatch.expected));
        if stream.made.origin != at {
            diagnostic = diagnostic.also(stream.made.origin, format!("gives {shape}"));
        } else {
            diagnostic = diagnostic.note(format!("the stream is {shape}"));
        }
        for note in mismatch.notes {
            diagnostic = diagnostic.note(note);
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
        // Where both could be changed, or what stands there is no plain number, it is for the user to say.
        let evident = |at: Origin| before.is_some() != here.is_some() && self.sources.text(at).parse::<i64>().is_ok();
        match (before, here, mismatch.last, found) {
            (_, Some(here), Some(_), Some(found)) => {
                let message = format!("make this layer take {found}");
                diagnostic = diagnostic.propose(message, here, found.to_string(), evident(here));
            }
            (Some(before), _, Some(last), _) => {
                let message = format!("make the layer before it {last} wide");
                diagnostic = diagnostic.propose(message, before, last.to_string(), evident(before));
            }
            (None, None, Some(last), Some(found)) if user(&at) && user(&stream.made.origin) && !stream.made.input => {
                let after = Origin {
                    file: stream.made.origin.file,
                    span: lmv_grammar::ast::Span::new(stream.made.origin.span.end, stream.made.origin.span.end),
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
    fn carry_on(&mut self, definition: &Rc<Definition>, bindings: &Bindings, env: &EnvRef) -> Value {
        let Some(signature) = definition.signature() else { return Value::Error };
        let Some(dims) = dims_of(&signature.output) else { return Value::Error };
        match self.quietly(|this| this.shape_of(dims, bindings, env, definition.origin())) {
            Some(shape) => {
                let id = self.stream(shape);
                let made = Rc::new(Made { origin: definition.origin(), width: None, input: false });
                Value::Stream(StreamValue { id, made })
            }
            None => Value::Error,
        }
    }

    /// A body must give what its signature says.
    fn check_output(
        &mut self,
        definition: &Rc<Definition>,
        pattern: &Type,
        output: &Value,
        bindings: &mut Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> bool {
        let patterns: Vec<&Type> = match &pattern.kind {
            TypeKind::Tuple(items) => items.iter().collect(),
            _ => vec![pattern],
        };
        let streams: Vec<&Value> = match output {
            Value::Tuple(items) => items.iter().collect(),
            one => vec![one],
        };
        let pattern_at = Origin { file: definition.file, span: pattern.span };
        if patterns.len() != streams.len() {
            self.report(
                Diagnostic::error(
                    Code::Signature,
                    format!("`{}` does not give what its signature says", definition.name),
                    pattern_at,
                    format!("says {} streams, and the body gives {}", patterns.len(), streams.len()),
                )
                .also(at, "used here"),
            );
            return false;
        }
        for (pattern, stream) in patterns.into_iter().zip(streams) {
            let (Some(dims), Value::Stream(stream)) = (dims_of(pattern), stream) else { continue };
            let shape = self.graph.shape(stream.id).clone();
            match self.match_in_frame(definition, dims, &shape, bindings, env, at) {
                None => return false,
                Some(Ok(())) => {}
                Some(Err(mismatch)) => {
                    let mut diagnostic = Diagnostic::error(
                        Code::Signature,
                        format!("`{}` does not give what its signature says", definition.name),
                        Origin { file: definition.file, span: pattern.span },
                        format!("says {}, and the body gives {shape}", mismatch.expected),
                    )
                    .also(at, "used here");
                    for note in mismatch.notes {
                        diagnostic = diagnostic.note(note.replace("it takes", "the signature says"));
                    }
                    self.report(diagnostic);
                    return false;
                }
            }
        }
        true
    }

    /// Puts an `extern layer` into the graph.
    #[allow(clippy::too_many_arguments)] // All that a node is made of.
    fn node(
        &mut self,
        definition: &Rc<Definition>,
        bound: &[Bound],
        facts: &[Fact],
        input: Value,
        bindings: &Bindings,
        env: &EnvRef,
        scope: &ScopeRef,
        at: Origin,
    ) -> Value {
        if self.graph.nodes.len() >= MOST_NODES {
            return self.stop(
                Diagnostic::error(Code::TooLarge, "the model is too large", at, "this would be one layer too many")
                    .note(format!("lmvc stops at {MOST_NODES} layers")),
            );
        }
        let inputs: Vec<StreamId> = match &input {
            Value::Stream(stream) => vec![stream.id],
            Value::Tuple(items) => items
                .iter()
                .filter_map(|item| match item {
                    Value::Stream(stream) => Some(stream.id),
                    _ => None,
                })
                .collect(),
            _ => return Value::Error,
        };
        let mut arguments = BTreeMap::new();
        for bound in bound {
            let Some(value) = self.settled(bound.value.clone(), bound.written.unwrap_or(at)) else {
                return Value::Error;
            };
            arguments.insert(bound.name.clone(), value);
        }
        let dims =
            bindings.dims.iter().map(|(name, dim)| Bound { name: name.clone(), value: as_value(dim), written: None });
        let with_dims: Vec<Bound> = bound.iter().cloned().chain(dims).collect();
        if !self.requirements_hold(definition, &with_dims, at) {
            return Value::Error;
        }
        let user = self.user_place(at);
        let mut parameters = Vec::new();
        let mut flops = None;
        for fact in facts {
            match fact {
                // Held against the arguments where they were given.
                Fact::Require { .. } | Fact::NotYetRun(_) => {}
                Fact::Flops(expr) => {
                    let rest = bindings.rest.as_ref().map_or(Some(1), |rest| Shape(rest.clone()).count());
                    let rest =
                        rest.map_or_else(|| Value::Dim(Dim::Named { name: "rest".into(), varying: false }), Value::int);
                    let env = Env::within(env, vec![("rest".to_owned(), rest)]);
                    let place = Place { env, scope: Scope::root() };
                    flops = match self.quietly(|this| this.eval(expr, &place)) {
                        Value::Config(config) => config.float(),
                        _ => None,
                    };
                }
                Fact::Weight { name, shape, init, when } => {
                    let place = Place { env: env.clone(), scope: Scope::root() };
                    if let Some(when) = when
                        && !matches!(self.eval(when, &place), Value::Config(Config::Bool(true)))
                    {
                        continue;
                    }
                    let init_at = Origin { file: env.file, span: init.span };
                    let init = self.eval(init, &place);
                    let (Some(init), Some(dims)) = (self.settled(init, init_at), dims_of(shape)) else {
                        return Value::Error;
                    };
                    let shape_at = Origin { file: env.file, span: shape.span };
                    let Some(shape) = self.shape_of(dims, bindings, env, shape_at) else { return Value::Error };
                    if !self.fits_a_machine(&shape, &format!("`{}` of `{}`", name.text, definition.name), at) {
                        return Value::Error;
                    }
                    let id = ParameterId(self.graph.parameters.len());
                    let path =
                        if scope.path.is_empty() { name.text.clone() } else { format!("{}.{}", scope.path, name.text) };
                    let frozen = self.marks.frozen.is_some_and(|(frozen, _)| frozen);
                    let filled_by = self.filling(&path);
                    if let (true, None, Some((_, mark)), false) =
                        (frozen, &filled_by, self.marks.frozen, matches!(self.marks.fill, Some(Fill::Random)))
                    {
                        self.report(
                            Diagnostic::error(
                                Code::FrozenRandom,
                                "this is frozen, and nothing fills it",
                                mark,
                                format!("`{}` in it would keep its random start for ever", definition.name),
                            )
                            .help("train it, fill it by `pretrained(\"name\", …)`, or say that a random start is meant: `frozen(random(…))`"),
                        );
                    }
                    self.graph.parameters.push(Parameter {
                        path,
                        layer: definition.name.clone(),
                        shape,
                        init,
                        frozen,
                        filled_by,
                        origin: user,
                    });
                    parameters.push((name.text.clone(), id));
                }
            }
        }
        let Some(signature) = definition.signature() else { return Value::Error };
        let types: Vec<&Type> = match &signature.output.kind {
            TypeKind::Tuple(items) => items.iter().collect(),
            _ => vec![&signature.output],
        };
        let mut outputs = Vec::new();
        for ty in types {
            let Some(dims) = dims_of(ty) else { return Value::Error };
            let ty_at = Origin { file: definition.file, span: ty.span };
            let Some(shape) = self.shape_of(dims, bindings, env, ty_at) else { return Value::Error };
            if !self.fits_a_machine(&shape, &format!("what `{}` gives", definition.name), at) {
                return Value::Error;
            }
            outputs.push(self.stream(shape));
        }
        self.graph.nodes.push(Node {
            layer: definition.name.clone(),
            path: scope.path.clone(),
            arguments,
            inputs,
            outputs: outputs.clone(),
            parameters,
            flops,
            origin: user,
        });
        let made = Rc::new(Made { origin: at, width: width_of(definition, bound), input: false });
        let mut streams: Vec<Value> =
            outputs.into_iter().map(|id| Value::Stream(StreamValue { id, made: made.clone() })).collect();
        if streams.len() == 1 { streams.remove(0) } else { Value::Tuple(streams) }
    }

    /// Whether a tensor of this shape fits any machine; if not, that is reported.
    fn fits_a_machine(&mut self, shape: &Shape, what: &str, at: Origin) -> bool {
        let fits = shape.count().is_none_or(|count| count <= MOST_NUMBERS);
        if !fits {
            let message = format!("{what} is larger than any machine's memory");
            self.report(Diagnostic::error(Code::TooLarge, message, at, format!("would be {shape}")));
        }
        fits
    }

    /// The outermost place of the user's own file on the way here.
    fn user_place(&self, at: Origin) -> Origin {
        self.frames.iter().map(|frame| frame.called).find(|called| !self.sources.get(called.file).library).unwrap_or(at)
    }

    fn filling(&self, path: &str) -> Option<Filling> {
        let below = |base: &str| path.strip_prefix(base).unwrap_or(path).trim_start_matches('.').to_owned();
        match self.marks.fill.as_ref()? {
            Fill::Random => None,
            Fill::Named { weights, base } => Some(Filling::Named { weights: weights.clone(), local: below(base) }),
            Fill::Block { llm, layer, base } => Some(Filling::Block {
                weights: llm.name.clone(),
                layer: *layer,
                local: below(base),
                llm: llm.sizes.clone(),
            }),
        }
    }
}

fn named_inner(inner: &Value, given: Option<&str>) -> Value {
    match (inner, given) {
        (Value::Layer(layer), Some(name)) if layer.name.is_none() => {
            Value::Layer(Rc::new(Layer { name: Some(name.to_owned()), ..(**layer).clone() }))
        }
        _ => inner.clone(),
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

/// Where the width that a linear layer gives was written.
fn width_of(definition: &Definition, bound: &[Bound]) -> Option<Origin> {
    let out = bound.iter().find(|bound| bound.name == "out").filter(|_| definition.name == "linear");
    out.and_then(|bound| bound.written)
}

fn remade(value: Value, made: &Rc<Made>) -> Value {
    match value {
        Value::Stream(stream) => Value::Stream(StreamValue { made: made.clone(), ..stream }),
        Value::Tuple(items) => Value::Tuple(items.into_iter().map(|item| remade(item, made)).collect()),
        other => other,
    }
}
