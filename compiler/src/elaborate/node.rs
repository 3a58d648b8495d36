//! The nodes of the graph: one `extern layer` at work, with the parameters that it owns.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Expr, Fact, Name, Type};

use super::matching::{Bindings, as_value, tensor};
use super::signature::{Use, streams_in_order};
use super::{Elaborator, Fill, MOST_NODES, MOST_NUMBERS, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::graph::{Filling, Kind, Node, Parameter, ParameterId};
use crate::shape::{Dim, Shape};
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, EnvRef, Made, Scope, ScopeRef, Value};

impl Elaborator<'_> {
    /// Puts an `extern layer` into the graph.
    pub(super) fn node(
        &mut self,
        layer: &Use<'_>,
        facts: &[Fact],
        input: Value,
        bindings: &Bindings,
        env: &EnvRef,
        scope: &ScopeRef,
    ) -> Value {
        let (definition, bound, at) = (layer.definition, layer.bound, layer.at);
        if self.nodes() >= MOST_NODES {
            return self.stop(
                Diagnostic::error(Code::TooLarge, "the model is too large", at, "this would be one layer too many")
                    .note(format!("lmvc stops at {MOST_NODES} layers")),
            );
        }
        let signature = definition.signature();
        let pattern = signature.and_then(|signature| signature.input.as_ref());
        let Some(inputs) = streams_in_order(pattern, &input) else { return Value::Error };
        let mut arguments = BTreeMap::new();
        for bound in bound {
            if let Value::Tuple(items) = &bound.value {
                let message = format!("`{}` of `{}` is one value", bound.name, definition.name);
                let label = format!("these are {}", items.len());
                return self.report(
                    Diagnostic::error(Code::WrongType, message, bound.written.unwrap_or(at), label)
                        .also(definition.origin(), "declared here")
                        .help("give one of them; a tuple is for streams and layers side by side"),
                );
            }
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
                // Held against the arguments where they were given; told of when it is to run.
                Fact::Require { .. }
                | Fact::NotYetRun(_)
                | Fact::Means(_)
                | Fact::Keeps(_)
                | Fact::Gain(_)
                | Fact::Shift(_) => {}
                Fact::Flops(expr) => {
                    let rest = bindings.rest.as_ref().map_or(Some(1), |rest| Shape(rest.clone()).count());
                    let rest = rest.map_or_else(|| Value::Dim(Dim::named("rest")), Value::int);
                    let env = Env::within(env, vec![("rest".to_owned(), rest)]);
                    let place = Place { env, scope: Scope::root() };
                    flops = match self.quietly(|this| this.eval(expr, &place)) {
                        Value::Config(config) => config.float(),
                        _ => None,
                    };
                }
                Fact::Buffer { name, shape, init } => {
                    let Some((shape, init)) = self.owned(layer, name, shape, init, bindings, env) else {
                        return Value::Error;
                    };
                    let id = self.parameter(layer, below(scope, &name.text), shape, init, Kind::Buffer);
                    parameters.push((name.text.clone(), id));
                }
                Fact::Weight { name, shape, init, when } => {
                    let place = Place { env: env.clone(), scope: Scope::root() };
                    if let Some(when) = when
                        && !matches!(self.eval(when, &place), Value::Config(Config::Bool(true)))
                    {
                        continue;
                    }
                    let Some((shape, init)) = self.owned(layer, name, shape, init, bindings, env) else {
                        return Value::Error;
                    };
                    let id = self.parameter(layer, below(scope, &name.text), shape, init, Kind::Weight);
                    parameters.push((name.text.clone(), id));
                }
            }
        }
        let Some(signature) = signature else { return Value::Error };
        let made = Rc::new(Made { origin: at, width: width_of(definition, bound), input: false });
        let output_at = Origin { file: definition.file, span: signature.output.span };
        let Some((output, outputs)) = self.outputs(&signature.output, bindings, env, output_at, &made) else {
            return Value::Error;
        };
        for stream in &outputs {
            let shape = self.graph.shape(*stream).clone();
            if !self.fits_a_machine(&shape, &format!("what `{}` gives", definition.name), at) {
                return Value::Error;
            }
        }
        self.graph.nodes.push(Node {
            layer: definition.name.clone(),
            path: scope.path.clone(),
            arguments,
            inputs,
            outputs,
            parameters,
            flops,
            origin: user,
        });
        output
    }

    /// The parameter of this path: a new one, or that of an earlier use of a shared layer.
    fn parameter(&mut self, layer: &Use<'_>, path: String, shape: Shape, init: Config, kind: Kind) -> ParameterId {
        let frozen = self.marks.frozen.is_some_and(|(frozen, _)| frozen);
        if let Some(id) = self.of_an_earlier_use(&path, &shape, frozen, layer.at) {
            return id;
        }
        let id = ParameterId(self.graph.parameters.len());
        if let Some(shared) = &self.shared {
            shared.parameters.borrow_mut().insert(path.clone(), id);
        }
        let filled_by = self.filling(&path);
        if let (true, None, Some((_, mark)), false) =
            (frozen, &filled_by, self.marks.frozen, matches!(self.marks.fill, Some(Fill::Random)))
        {
            self.report(
                Diagnostic::error(
                    Code::FrozenRandom,
                    "this is frozen, and nothing fills it",
                    mark,
                    format!("`{}` in it would keep its random start for ever", layer.definition.name),
                )
                .help("train it, fill it by `pretrained(\"name\", …)`, or say that a random start is meant: `frozen(random(…))`"),
            );
        }
        self.graph.parameters.push(Parameter {
            path,
            layer: layer.definition.name.clone(),
            within: self.frames.iter().map(|frame| frame.name.clone()).collect(),
            shape,
            init,
            kind,
            frozen,
            filled_by,
            origin: self.user_place(layer.at),
        });
        id
    }

    /// A tensor that a layer declares as its own, a parameter or a buffer: its shape, and how it starts. `None` is a
    /// mistake that was reported.
    fn owned(
        &mut self,
        layer: &Use<'_>,
        name: &Name,
        shape: &Type,
        init: &Expr,
        bindings: &Bindings,
        env: &EnvRef,
    ) -> Option<(Shape, Config)> {
        let (owner, at) = (&layer.definition.name, layer.at);
        let place = Place { env: env.clone(), scope: Scope::root() };
        let start = self.eval(init, &place);
        let init = self.settled(start, Origin { file: env.file, span: init.span })?;
        let shape_at = Origin { file: env.file, span: shape.span };
        let (shape, _) = self.tensor_of(&tensor(shape)?, bindings, env, shape_at)?;
        if shape.varies() && !self.symbolic {
            self.report(
                Diagnostic::error(
                    Code::Dim,
                    format!("a parameter of `{owner}` would have no size of its own"),
                    at,
                    format!("`{}` in it would be {shape}", name.text),
                )
                .note("a length with a question mark differs from sample to sample; parameters are the same for all")
                .help("give the stream a fixed length, or take a layer without parameters for each token, as `sinusoidal_position` is"),
            );
            return None;
        }
        self.fits_a_machine(&shape, &format!("`{}` of `{owner}`", name.text), at).then_some((shape, init))
    }

    /// The parameter of this path that an earlier use of a shared layer made.
    fn of_an_earlier_use(&mut self, path: &str, shape: &Shape, frozen: bool, at: Origin) -> Option<ParameterId> {
        let id = *self.shared.as_ref()?.parameters.borrow().get(path)?;
        let earlier = &self.graph.parameters[id.0];
        let at = self.user_place(at);
        let (same_shape, same_words, first) = (earlier.shape == *shape, earlier.frozen == frozen, earlier.origin);
        if !same_shape {
            let before = earlier.shape.clone();
            self.report(
                Diagnostic::error(
                    Code::Shape,
                    format!("the uses of a shared layer need `{path}` in two shapes"),
                    at,
                    format!("{shape} in this use"),
                )
                .also(first, format!("{before} in this one"))
                .help("what is shared has one shape: share the parts that have, and give each use the others"),
            );
        } else if !same_words {
            let word = |frozen| if frozen { "frozen" } else { "trained" };
            self.report(
                Diagnostic::error(
                    Code::FreezeConflict,
                    format!("the shared `{path}` cannot be both frozen and trained"),
                    at,
                    format!("{} in this use", word(frozen)),
                )
                .also(first, format!("{} in this one", word(!frozen)))
                .help("say it once, around what is shared: `let f = shared(frozen(…))`"),
            );
        }
        Some(id)
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
    pub(super) fn user_place(&self, at: Origin) -> Origin {
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

/// Where the width that a linear layer gives was written.
pub(super) fn width_of(definition: &Definition, bound: &[Bound]) -> Option<Origin> {
    let out = bound.iter().find(|bound| bound.name == "out").filter(|_| definition.name == "linear");
    out.and_then(|bound| bound.written)
}

/// The path of a tensor of this name.
fn below(scope: &Scope, name: &str) -> String {
    if scope.path.is_empty() { name.to_owned() } else { format!("{}.{name}", scope.path) }
}
