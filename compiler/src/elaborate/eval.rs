//! What an expression is worth.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Arg, BinaryOp, Block, Expr, ExprKind, ItemKind, Name};

use super::binding::names;
use super::{Elaborator, Place};
use crate::codes::Code;
use crate::config::{Call, Config};
use crate::diagnostic::Diagnostic;
use crate::graph::LlmSizes;
use crate::library;
use crate::modules::Found;
use crate::shape::Dim;
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, FieldType, Layer, LayerKind, Llm, Mark, Recipe, Value};

/// Names that the language itself gives a meaning.
const BUILTINS: [&str; 9] = ["frozen", "trainable", "random", "pretrained", "path", "when", "max", "min", "data"];

impl Elaborator<'_> {
    /// Evaluates an expression; a mistake is reported and gives [`Value::Error`].
    pub(crate) fn eval(&mut self, expr: &Expr, place: &Place) -> Value {
        let at = Origin { file: place.env.file, span: expr.span };
        if !self.enter(at) {
            return Value::Error;
        }
        let value = self.worth(expr, place, at);
        self.leave();
        self.within_bounds(value, at)
    }

    fn worth(&mut self, expr: &Expr, place: &Place, at: Origin) -> Value {
        match &expr.kind {
            ExprKind::Int(n) => Value::int(*n),
            ExprKind::Float(x) => Value::Config(Config::Float(*x)),
            ExprKind::Bool(b) => Value::Config(Config::Bool(*b)),
            ExprKind::Str(s) => Value::Config(Config::Str(s.clone())),
            ExprKind::Name(name) => {
                // Looking a name up walks the environments around it.
                self.spend(place.env.height / 8, at);
                self.name(name, place, at)
            }
            ExprKind::Field(of, name) => {
                let value = self.eval(of, place);
                self.field(value, name, at)
            }
            ExprKind::Index(of, index) => {
                let value = self.eval(of, place);
                let index_at = Origin { file: at.file, span: index.span };
                if let (ExprKind::Field(_, name), Value::Config(Config::Int(count))) = (&of.kind, &value)
                    && name.text == "layers"
                {
                    let name_at = Origin { file: at.file, span: name.span };
                    return self.report(
                        Diagnostic::error(
                            Code::WrongType,
                            "`layers` is how many blocks there are",
                            name_at,
                            format!("this is {count}"),
                        )
                        .fix("the blocks themselves are `layer`", name_at, "layer"),
                    );
                }
                let index = self.eval(index, place);
                self.index(value, index, at, index_at)
            }
            ExprKind::Range(from, to) => match (self.eval(from, place), self.eval(to, place)) {
                (Value::Config(Config::Int(from)), Value::Config(Config::Int(to))) => Value::Range(from, to),
                (Value::Error, _) | (_, Value::Error) => Value::Error,
                (from, to) => {
                    let what = format!("from {} to {}", from.kind(), to.kind());
                    self.report(Diagnostic::error(
                        Code::WrongType,
                        "a range goes from a whole number to a whole number",
                        at,
                        what,
                    ))
                }
            },
            ExprKind::Call(callee, args) => self.call(callee, args, place, at),
            ExprKind::Repeat { keyword: _, count, var, body } => {
                let count_at = Origin { file: at.file, span: count.span };
                match self.eval(count, place) {
                    Value::Config(Config::Int(count)) => Layer::configured(
                        LayerKind::Repeat {
                            count,
                            var: var.as_ref().map(|var| var.text.clone()),
                            body: Rc::new(body.clone()),
                            env: place.env.clone(),
                        },
                        at,
                    ),
                    Value::Error => Value::Error,
                    other => self.report(Diagnostic::error(
                        Code::WrongType,
                        "`repeat` takes a whole number of rounds",
                        count_at,
                        format!("this is {}", other.kind()),
                    )),
                }
            }
            ExprKind::Negate(of) => match self.eval(of, place) {
                Value::Config(Config::Int(n)) => Value::int(n.saturating_neg()),
                Value::Config(Config::Float(x)) => Value::Config(Config::Float(-x)),
                Value::Error => Value::Error,
                other => self.report(Diagnostic::error(
                    Code::WrongType,
                    "`-` takes a number",
                    at,
                    format!("this is {}", other.kind()),
                )),
            },
            ExprKind::Binary(op, a, b) => {
                let left = self.eval(a, place);
                let right = self.eval(b, place);
                self.binary(*op, left, right, a, b, at)
            }
            ExprKind::Pipe(steps) => self.pipe(steps, place, at),
            ExprKind::Tuple(items) => {
                let values: Vec<Value> = items.iter().map(|item| self.eval(item, place)).collect();
                if values.iter().any(|value| matches!(value, Value::Error)) {
                    return Value::Error;
                }
                Value::Tuple(values)
            }
            ExprKind::List(items) => {
                let values: Vec<Value> = items.iter().map(|item| self.eval(item, place)).collect();
                if values.iter().any(|value| matches!(value, Value::Error)) {
                    return Value::Error;
                }
                Value::List(values)
            }
            ExprKind::Record(_) => self.report(
                Diagnostic::error(Code::WrongType, "a record is not an expression here", at, "no place for a record")
                    .note("records stand behind `with`"),
            ),
            ExprKind::With(of, additions) => {
                let value = self.eval(of, place);
                self.with(value, additions, place, at)
            }
            ExprKind::As(of, name) => {
                let value = self.eval(of, place);
                self.named(value, name, at)
            }
        }
    }

    /// Evaluates a block: its `let` lines in order, then its result. Streams that a `let` names become taps.
    pub(crate) fn block(&mut self, block: &Block, place: &Place) -> Value {
        let mut place = place.clone();
        for line in &block.lets {
            let value = self.eval(&line.value, &place);
            let at = Origin { file: place.env.file, span: line.value.span };
            let values = match (line.names.as_slice(), value) {
                ([_], value) => vec![value],
                (names, Value::Tuple(values)) if values.len() == names.len() => values,
                (names, Value::Error) => vec![Value::Error; names.len()],
                (names, other) => {
                    self.report(Diagnostic::error(
                        Code::WrongType,
                        format!("{} names for {}", names.len(), other.kind()),
                        at,
                        format!("this is {}", other.kind()),
                    ));
                    vec![Value::Error; names.len()]
                }
            };
            for (name, value) in line.names.iter().zip(&values) {
                if let Value::Stream(stream) = value {
                    let prefix = &place.scope.path;
                    let tap = if prefix.is_empty() { name.text.clone() } else { format!("{prefix}.{}", name.text) };
                    self.graph.taps.push(crate::graph::Port { name: tap, stream: stream.id });
                }
            }
            let names = line.names.iter().map(|name| name.text.clone()).zip(values).collect();
            place.env = Env::within(&place.env, names);
        }
        self.eval(&block.result, &place)
    }

    fn name(&mut self, name: &str, place: &Place, at: Origin) -> Value {
        if let Some(value) = place.env.get(name) {
            return value.clone();
        }
        if name == "data" {
            return Value::Data(self.data.clone());
        }
        match self.modules.find(at.file, name) {
            Found::One(definition) => self.definition(&definition, at),
            Found::Missing => Value::Error,
            Found::Two(first, second) => self.report(
                Diagnostic::error(
                    Code::DefinedTwice,
                    format!("`{name}` comes from two files"),
                    at,
                    "which of the two?",
                )
                .also(first.at, "one is imported here")
                .also(second.at, "the other one here")
                .help(format!("import the one that is meant by name: `use … {{ {name} }}`")),
            ),
            Found::Nothing => self.unknown_name(name, place, at),
        }
    }

    fn unknown_name(&mut self, name: &str, place: &Place, at: Origin) -> Value {
        let diagnostic = Diagnostic::error(
            Code::UnknownName,
            format!("there is no `{name}`"),
            at,
            "not defined here, nor in the library",
        );
        if let Some(opened) = self.modules.kept_back(at.file, name)
            && let Some(private) = self.modules.own(opened.file, name)
        {
            return self.report(
                Diagnostic::error(Code::Private, format!("`{name}` is private to another file"), at, "not seen here")
                    .also(private.origin(), "defined here")
                    .note("a name that begins with `_` is seen in its own file alone"),
            );
        }
        let elsewhere = library::modules_with(name);
        if let Some(first) = elsewhere.first() {
            let line = |module: &str| format!("use {module} {{ {name} }}");
            let diagnostic = Diagnostic::error(
                Code::UnknownName,
                format!("`{name}` is not imported"),
                at,
                "is in the library, and not seen without a `use`",
            );
            return self.report(match elsewhere.as_slice() {
                [module] => {
                    let top = crate::source::top_of(&self.sources.get(at.file).text);
                    let top = Origin { file: at.file, span: lmv_grammar::ast::Span::new(top, top) };
                    diagnostic.fix("import it", top, format!("{}\n", line(module)))
                }
                several => diagnostic
                    .note(format!("`{}` have one", several.join("`, `")))
                    .help(format!("import the one that is meant: `{}`", line(first))),
            });
        }
        let mut known: Vec<String> = self.modules.names(at.file);
        known.extend(place.env.all_names().into_iter().map(str::to_owned));
        known.extend(BUILTINS.map(str::to_owned));
        known.sort_unstable();
        known.dedup();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        self.report(diagnostic.did_you_mean(name, &known, at))
    }

    /// A name that stands for a value is that value; one that is to be called stays a definition.
    pub(crate) fn definition(&mut self, definition: &Rc<Definition>, at: Origin) -> Value {
        match definition.kind() {
            ItemKind::Let { params: None, value, .. } => {
                // Once each: a chain of lets that each use the one before twice must not take exponential time.
                if let Some(value) = self.lets.get(&(definition.file, definition.item)) {
                    return value.clone();
                }
                let place = Place { env: Env::top(definition.file), scope: crate::value::Scope::root() };
                let value = self.framed(&definition.name, at, |this| this.eval(value, &place)).unwrap_or(Value::Error);
                self.lets.insert((definition.file, definition.item), value.clone());
                value
            }
            ItemKind::Llm { value, .. } => {
                let place = Place { env: Env::top(definition.file), scope: crate::value::Scope::root() };
                let value = self.framed(&definition.name, at, |this| this.eval(value, &place)).unwrap_or(Value::Error);
                match value {
                    Value::Llm(llm) => Value::Llm(Rc::new(Llm {
                        name: definition.name.clone(),
                        origin: definition.origin(),
                        ..(*llm).clone()
                    })),
                    Value::Error => Value::Error,
                    other => self.report(Diagnostic::error(
                        Code::WrongType,
                        format!("`{}` is declared as a language model and is {}", definition.name, other.kind()),
                        definition.origin(),
                        "declared here",
                    )),
                }
            }
            _ => Value::Definition(definition.clone()),
        }
    }

    fn field(&mut self, value: Value, name: &Name, at: Origin) -> Value {
        let name_at = Origin { file: at.file, span: name.span };
        match value {
            Value::Llm(llm) if name.text == "layer" => Value::LlmLayers(llm),
            Value::Llm(llm) => {
                if let Some(bound) = llm.bound.iter().find(|bound| bound.name == name.text) {
                    return bound.value.clone();
                }
                self.report(
                    Diagnostic::error(
                        Code::UnknownField,
                        format!("`{}` has no `{}`", llm.name, name.text),
                        name_at,
                        "no such part",
                    )
                    .help(format!(
                        "its blocks are `{}.layer[0]` to `{}.layer[{}]`",
                        llm.name,
                        llm.name,
                        llm.layers - 1
                    )),
                )
            }
            // Without data the sizes that it would tell keep their names.
            Value::Data(None) => Value::Dim(Dim::Named { name: name.text.clone(), varying: false }),
            Value::Data(Some(data)) => {
                if let Some(value) = data.call.arguments.get(&name.text) {
                    return Value::Config(value.clone());
                }
                let class = data.fields.iter().find_map(|(_, ty)| match ty {
                    FieldType::Class(dim) => Some(dim.clone()),
                    FieldType::Tensor(_) => None,
                });
                if let ("classes", Some(dim)) = (name.text.as_str(), class) {
                    return super::matching::as_value(&dim);
                }
                self.report(
                    Diagnostic::error(
                        Code::UnknownField,
                        format!("the data has no `{}`", name.text),
                        name_at,
                        "not a part of the data",
                    )
                    .also(data.origin, format!("`{}` stands here", data.call.name)),
                )
            }
            Value::Error => Value::Error,
            other => self.report(Diagnostic::error(
                Code::UnknownField,
                format!("{} has no part `{}`", other.kind(), name.text),
                name_at,
                "no such part",
            )),
        }
    }

    fn index(&mut self, value: Value, index: Value, at: Origin, index_at: Origin) -> Value {
        let llm = match value {
            Value::LlmLayers(llm) => llm,
            Value::Error => return Value::Error,
            Value::Llm(llm) => {
                return self.report(
                    Diagnostic::error(Code::WrongType, "a language model is not a list", at, "which part of it?")
                        .help(format!("its last block is `{}.layer[{}]`", llm.name, llm.layers - 1)),
                );
            }
            other => {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("{} cannot be indexed", other.kind()),
                    at,
                    "only the blocks of a language model are indexed, as in `llama7b.layer[31]`",
                ));
            }
        };
        let (first, end) = match index {
            Value::Config(Config::Int(n)) => (n, n.saturating_add(1)),
            Value::Range(first, end) => (first, end),
            Value::Error => return Value::Error,
            other => {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    "a block is picked by a whole number or a range",
                    index_at,
                    format!("this is {}", other.kind()),
                ));
            }
        };
        if first < 0 || end > llm.layers || first >= end {
            let last = llm.layers - 1;
            let mut diagnostic = Diagnostic::error(
                Code::LayerIndex,
                format!("`{}` has {} blocks, numbered from 0 to {last}", llm.name, llm.layers),
                index_at,
                if end == first.saturating_add(1) {
                    format!("there is no block {first}")
                } else {
                    format!("{first}..{end} is not among them")
                },
            )
            .also(llm.origin, "declared here");
            if end == first.saturating_add(1) {
                diagnostic = diagnostic.replace("the last block is", index_at, last.to_string());
            } else {
                diagnostic = diagnostic.note("the end of a range is not part of it");
            }
            return self.report(diagnostic);
        }
        Layer::configured(LayerKind::Blocks { llm, first, end, overrides: Vec::new() }, at)
    }

    fn call(&mut self, callee: &Expr, args: &[Arg], place: &Place, at: Origin) -> Value {
        if let ExprKind::Name(name) = &callee.kind
            && place.env.get(name).is_none()
        {
            match name.as_str() {
                "frozen" => return self.mark(Mark::Frozen, name, args, place, at),
                "trainable" => return self.mark(Mark::Trainable, name, args, place, at),
                "random" => return self.mark(Mark::Random, name, args, place, at),
                "pretrained" => return self.pretrained(args, place, at),
                "path" => return self.path(args, place, at),
                "when" => return self.when(args, place, at),
                "max" | "min" => return self.extremum(name == "max", args, place, at),
                _ => {}
            }
        }
        let value = self.eval(callee, place);
        match value {
            Value::Definition(definition) => {
                let Some(bound) = self.bind(&definition, args, place, at) else { return Value::Error };
                self.configured(&definition, bound, at)
            }
            Value::Error => Value::Error,
            other => {
                if let Value::Layer(layer) = &other
                    && let LayerKind::Blocks { llm, first, end, overrides } = &layer.kind
                {
                    return self.override_block(llm, *first, *end, overrides, args, place, at);
                }
                self.report(
                    Diagnostic::error(Code::WrongType, format!("{} cannot be called", other.kind()), at, "called here")
                        .note("a call configures a layer; a pipe applies it: `x >> f(384)`"),
                )
            }
        }
    }

    /// What a definition is once its arguments are there.
    pub(super) fn configured(&mut self, definition: &Rc<Definition>, bound: Vec<Bound>, at: Origin) -> Value {
        match definition.kind() {
            ItemKind::Define { kind, .. } | ItemKind::Extern { kind, .. } if kind.text == "layer" => {
                Layer::configured(LayerKind::Definition { definition: definition.clone(), bound }, at)
            }
            ItemKind::Define { body, .. } => {
                let env = Env::within(&Env::top(definition.file), names(&bound));
                let place = Place { env, scope: crate::value::Scope::root() };
                self.framed(&definition.name, at, |this| this.block(body, &place)).unwrap_or(Value::Error)
            }
            ItemKind::Extern { kind, .. } if kind.text == "llm" => self.llm(definition, bound, at),
            ItemKind::Extern { kind, .. } => {
                self.externs.insert((kind.text.clone(), definition.name.clone()), definition.clone());
                let mut arguments = BTreeMap::new();
                for bound in bound {
                    let origin = bound.written.unwrap_or(at);
                    let Some(value) = self.settled(bound.value, origin) else { return Value::Error };
                    arguments.insert(bound.name, value);
                }
                Value::Config(Config::Call(Call {
                    kind: kind.text.clone(),
                    name: definition.name.clone(),
                    arguments,
                    with: BTreeMap::new(),
                }))
            }
            ItemKind::Let { value, .. } => {
                let env = Env::within(&Env::top(definition.file), names(&bound));
                let place = Place { env, scope: crate::value::Scope::root() };
                self.framed(&definition.name, at, |this| this.eval(value, &place)).unwrap_or(Value::Error)
            }
            ItemKind::Recipe { .. } => Value::Recipe(Recipe::new(definition.clone(), bound)),
            _ => self.report(Diagnostic::error(
                Code::WrongType,
                format!("`{}` cannot be called", definition.name),
                at,
                "called here",
            )),
        }
    }

    /// A value that is no layer and no stream, settled; a definition without arguments counts as called.
    pub(crate) fn settled(&mut self, value: Value, at: Origin) -> Option<Config> {
        match value {
            Value::Config(config) => Some(config),
            Value::Dim(Dim::Named { name, .. }) => Some(Config::Unknown(name)),
            Value::Dim(Dim::Known(n)) => Some(Config::Int(n)),
            Value::List(items) => {
                items.into_iter().map(|item| self.settled(item, at)).collect::<Option<Vec<_>>>().map(Config::List)
            }
            Value::Definition(definition) if definition.sort() == "layer" => Some(Config::Call(Call {
                kind: "layer".into(),
                name: definition.name.clone(),
                arguments: BTreeMap::new(),
                with: BTreeMap::new(),
            })),
            Value::Definition(definition) => {
                let given = definition.params().iter().map(|_| None).collect();
                let bound = self.complete(&definition, given, at)?;
                match self.configured(&definition, bound, at) {
                    Value::Definition(_) => None,
                    value => self.settled(value, at),
                }
            }
            Value::Error => None,
            other => {
                self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("{} is no setting", other.kind()),
                    at,
                    "a number, a text, a list, or a part of the library is expected here",
                ));
                None
            }
        }
    }

    fn llm(&mut self, definition: &Rc<Definition>, bound: Vec<Bound>, at: Origin) -> Value {
        let mut sizes = BTreeMap::new();
        for bound in &bound {
            let origin = bound.written.unwrap_or(at);
            let Some(value) = self.settled(bound.value.clone(), origin) else { return Value::Error };
            let counts = definition.params().iter().any(|p| p.name.text == bound.name && p.default.is_none());
            if counts && !matches!(value, Config::Int(_) | Config::Unknown(_)) {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("`{}` of `{}` is a whole number", bound.name, definition.name),
                    origin,
                    format!("this is {}", value.kind()),
                ));
            }
            if let Config::Int(n) = value
                && n <= 0
            {
                return self.report(Diagnostic::error(
                    Code::OutOfRange,
                    format!("a language model with {} = {n}", bound.name),
                    origin,
                    "must be at least 1",
                ));
            }
            sizes.insert(bound.name.clone(), value);
        }
        let layers = sizes.get("layers").and_then(Config::int).unwrap_or(0);
        let sizes = LlmSizes { family: definition.name.clone(), sizes };
        Value::Llm(Rc::new(Llm {
            name: definition.name.clone(),
            definition: definition.clone(),
            bound,
            sizes,
            layers,
            origin: at,
        }))
    }

    #[allow(clippy::too_many_arguments)] // The parts of one `Blocks` layer and of one call, each used.
    fn override_block(
        &mut self,
        llm: &Rc<Llm>,
        first: i64,
        end: i64,
        earlier: &[Bound],
        args: &[Arg],
        place: &Place,
        at: Origin,
    ) -> Value {
        let mut overrides = earlier.to_vec();
        for arg in args {
            let written = Origin { file: at.file, span: arg.value.span };
            let Some(name) = &arg.name else {
                return self.report(
                    Diagnostic::error(
                        Code::UnknownArgument,
                        "a block takes its arguments by name",
                        written,
                        "which one is this?",
                    )
                    .help(format!("for example `{}.layer[{first}](rope = true, causal = true)`", llm.name)),
                );
            };
            let known: Vec<&str> = llm.bound.iter().map(|bound| bound.name.as_str()).collect();
            let switches: Vec<&str> = ["rope", "causal"].into_iter().filter(|switch| known.contains(switch)).collect();
            if !switches.contains(&name.text.as_str()) {
                let fixed = known.contains(&name.text.as_str());
                let why = if fixed {
                    "is a size of the language model, and stands in its declaration"
                } else {
                    "is nothing a block can change"
                };
                return self.report(
                    Diagnostic::error(
                        Code::UnknownArgument,
                        format!("`{}` {why}", name.text),
                        Origin { file: at.file, span: name.span },
                        "not an argument of a block",
                    )
                    .note(format!(
                        "a block of `{}` takes `{}`",
                        llm.definition.name,
                        switches.join("` and `")
                    )),
                );
            }
            let value = self.eval(&arg.value, place);
            if !matches!(value, Value::Config(Config::Bool(_)) | Value::Error) {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("`{}` is true or false", name.text),
                    written,
                    format!("this is {}", value.kind()),
                ));
            }
            overrides.push(Bound { name: name.text.clone(), value, written: Some(written) });
        }
        Layer::configured(LayerKind::Blocks { llm: llm.clone(), first, end, overrides }, at)
    }

    fn mark(&mut self, mark: Mark, word: &str, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [Arg { name: None, value }] = args else {
            return self.report(
                Diagnostic::error(
                    Code::UnknownArgument,
                    format!("`{word}` takes one layer"),
                    at,
                    format!("{} arguments here", args.len()),
                )
                .help(format!("for example `{word}(llama7b.layer[31])`")),
            );
        };
        let inner_at = Origin { file: at.file, span: value.span };
        let inner = self.eval(value, place);
        self.marked_layer(mark, inner, at, inner_at)
    }

    fn marked_layer(&mut self, mark: Mark, inner: Value, at: Origin, inner_at: Origin) -> Value {
        match &inner {
            Value::Error => return Value::Error,
            Value::Layer(layer) => {
                if let LayerKind::Mark { mark: within, .. } = &layer.kind
                    && matches!((&mark, within), (Mark::Frozen, Mark::Trainable) | (Mark::Trainable, Mark::Frozen))
                {
                    let (outer, inside) =
                        if mark == Mark::Frozen { ("frozen", "trainable") } else { ("trainable", "frozen") };
                    return self.report(
                        Diagnostic::error(
                            Code::FreezeConflict,
                            format!("one layer cannot be both {outer} and {inside}"),
                            at,
                            format!("this says {outer}"),
                        )
                        .also(layer.origin, format!("and this says {inside}"))
                        .help("keep the one that is meant"),
                    );
                }
            }
            Value::Definition(definition) if definition.sort() == "layer" => {}
            Value::Llm(llm) => {
                return self.report(
                    Diagnostic::error(
                        Code::NotALayer,
                        format!("`{}` is a whole language model", llm.name),
                        inner_at,
                        "which block of it?",
                    )
                    .replace(
                        "its last block",
                        inner_at,
                        format!("{}.layer[{}]", llm.name, llm.layers - 1),
                    ),
                );
            }
            other => {
                return self.report(Diagnostic::error(
                    Code::NotALayer,
                    "a layer is expected here",
                    inner_at,
                    format!("this is {}", other.kind()),
                ));
            }
        }
        Layer::configured(LayerKind::Mark { mark, inner }, at)
    }

    fn pretrained(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [Arg { name: None, value: name }, Arg { name: None, value: layer }] = args else {
            return self.report(
                Diagnostic::error(
                    Code::UnknownArgument,
                    "`pretrained` takes a name and a layer",
                    at,
                    format!("{} arguments here", args.len()),
                )
                .help("for example `pretrained(\"deit_small\", vit_small)`"),
            );
        };
        let name_at = Origin { file: at.file, span: name.span };
        let layer_at = Origin { file: at.file, span: layer.span };
        match self.eval(name, place) {
            Value::Config(Config::Str(weights)) => {
                let inner = self.eval(layer, place);
                self.marked_layer(Mark::Pretrained(weights), inner, at, layer_at)
            }
            Value::Error => Value::Error,
            other => self.report(Diagnostic::error(
                Code::WrongType,
                "weights go by a name in quotes",
                name_at,
                format!("this is {}", other.kind()),
            )),
        }
    }

    fn path(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        if let [Arg { name: None, value }] = args
            && let Value::Config(Config::Str(name)) = self.eval(value, place)
        {
            if name.contains(['/', '\\']) || name.is_empty() {
                return self.report(
                    Diagnostic::error(Code::WrongType, "a path goes by a name", at, "this looks like a place on one machine")
                        .note("specs are portable: where a name lies is said in lmv.toml, in the environment, or by `--path NAME=DIR`"),
                );
            }
            return Value::Config(Config::Path(name));
        }
        self.report(
            Diagnostic::error(Code::WrongType, "`path` takes one name in quotes", at, "not a name")
                .help("for example `path(\"imagenet\")`"),
        )
    }

    /// `when(condition, a, b)`: only the one that is chosen is looked at.
    fn when(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [condition, yes, no] = args else {
            return self.report(
                Diagnostic::error(
                    Code::MissingArgument,
                    "`when` takes a condition and two values",
                    at,
                    format!("{} arguments here", args.len()),
                )
                .help("for example `when(rope, rotary(heads), identity)`"),
            );
        };
        let condition_at = Origin { file: at.file, span: condition.value.span };
        match self.eval(&condition.value, place) {
            Value::Config(Config::Bool(true)) => self.eval(&yes.value, place),
            Value::Config(Config::Bool(false)) => self.eval(&no.value, place),
            Value::Error => Value::Error,
            other => self.report(Diagnostic::error(
                Code::WrongType,
                "a condition is true or false",
                condition_at,
                format!("this is {}", other.kind()),
            )),
        }
    }

    fn extremum(&mut self, max: bool, args: &[Arg], place: &Place, at: Origin) -> Value {
        let values: Vec<Value> = args.iter().map(|arg| self.eval(&arg.value, place)).collect();
        if values.iter().any(|value| matches!(value, Value::Error)) {
            return Value::Error;
        }
        let numbers: Option<Vec<i64>> = values
            .iter()
            .map(|value| match value {
                Value::Config(Config::Int(n)) => Some(*n),
                _ => None,
            })
            .collect();
        let found = numbers.and_then(|numbers| if max { numbers.into_iter().max() } else { numbers.into_iter().min() });
        match found {
            Some(n) => Value::int(n),
            None => self.report(Diagnostic::error(
                Code::WrongType,
                format!("`{}` takes whole numbers", if max { "max" } else { "min" }),
                at,
                "not all of these are",
            )),
        }
    }

    fn with(&mut self, value: Value, additions: &[(Name, Expr)], place: &Place, at: Origin) -> Value {
        let mut call = match self.settled(value, at) {
            Some(Config::Call(call)) => call,
            Some(other) => {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("`with` adds to a part of the library, not to {}", other.kind()),
                    at,
                    format!("this is {}", other.kind()),
                ));
            }
            None => return Value::Error,
        };
        for (name, value) in additions {
            let value_at = Origin { file: at.file, span: value.span };
            if name.text != "no_decay" {
                return self.report(
                    Diagnostic::error(
                        Code::UnknownField,
                        format!("`with` knows no `{}`", name.text),
                        Origin { file: at.file, span: name.span },
                        "unknown here",
                    )
                    .help("`no_decay: [rank(1), position, class_token]` names what weight decay leaves alone"),
                );
            }
            let value = self.eval(value, place);
            let Some(value) = self.settled(value, value_at) else { return Value::Error };
            call.with.insert(name.text.clone(), value);
        }
        Value::Config(Config::Call(call))
    }

    fn named(&mut self, value: Value, name: &Name, at: Origin) -> Value {
        match value {
            Value::Layer(layer) => Value::Layer(Rc::new(Layer { name: Some(name.text.clone()), ..(*layer).clone() })),
            Value::Definition(definition) if definition.sort() == "layer" => {
                let given = definition.params().iter().map(|_| None).collect();
                let Some(bound) = self.complete(&definition, given, at) else { return Value::Error };
                self.named(Layer::configured(LayerKind::Definition { definition, bound }, at), name, at)
            }
            Value::Error => Value::Error,
            other => self.report(Diagnostic::error(
                Code::NotALayer,
                "`as` names a layer",
                at,
                format!("this is {}", other.kind()),
            )),
        }
    }

    /// A pipe that begins with a stream runs; one that begins with a layer is a layer.
    fn pipe(&mut self, steps: &[Expr], place: &Place, at: Origin) -> Value {
        let Some((first, rest)) = steps.split_first() else { return Value::Error };
        let mut value = self.eval(first, place);
        if is_stream(&value) {
            for step in rest {
                let step_at = Origin { file: at.file, span: step.span };
                let layer = self.eval(step, place);
                value = self.step(layer, value, place, step_at);
            }
            return value;
        }
        let broken = matches!(value, Value::Error);
        let mut values = vec![at_step(value, Origin { file: at.file, span: first.span })];
        for step in rest {
            let step_at = Origin { file: at.file, span: step.span };
            let value = self.eval(step, place);
            values.push(at_step(value, step_at));
        }
        if broken {
            // It may have been a stream: what the pipe is cannot be told.
            return Value::Error;
        }
        Layer::configured(LayerKind::Pipe(values), at)
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value, left: &Expr, right: &Expr, at: Origin) -> Value {
        use Config::{Float, Int};
        let sign = match op {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "**",
            BinaryOp::Or => {
                let left_at = Origin { file: at.file, span: left.span };
                let right_at = Origin { file: at.file, span: right.span };
                return match (self.settled(a, left_at), self.settled(b, right_at)) {
                    (Some(a), Some(b)) => Value::Config(Config::Either(Box::new(a), Box::new(b))),
                    _ => Value::Error,
                };
            }
        };
        match (a, b) {
            (Value::Error, _) | (_, Value::Error) => Value::Error,
            (Value::Config(Int(a)), Value::Config(Int(b))) => self.whole(op, sign, a, b, left, right, at),
            (Value::Config(a @ (Int(_) | Float(_))), Value::Config(b @ (Int(_) | Float(_)))) => {
                // Both are numbers here: the pattern says so.
                let (a, b) = (a.float().unwrap_or(f64::NAN), b.float().unwrap_or(f64::NAN));
                let x = match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div => a / b,
                    BinaryOp::Pow | BinaryOp::Or => a.powf(b),
                };
                if !x.is_finite() {
                    return self.report(Diagnostic::error(
                        Code::Division,
                        format!("{a} {sign} {b} is no number"),
                        at,
                        "comes to nothing",
                    ));
                }
                Value::Config(Float(x))
            }
            (Value::Dim(dim), Value::Config(Int(n))) => {
                Value::Dim(Dim::Named { name: format!("({dim} {sign} {n})"), varying: false })
            }
            (Value::Config(Int(n)), Value::Dim(dim)) => {
                Value::Dim(Dim::Named { name: format!("({n} {sign} {dim})"), varying: false })
            }
            (Value::Dim(a), Value::Dim(b)) => {
                Value::Dim(Dim::Named { name: format!("({a} {sign} {b})"), varying: false })
            }
            (a, b) => {
                let layers = matches!(a, Value::Layer(_) | Value::Definition(_))
                    && matches!(b, Value::Layer(_) | Value::Definition(_));
                let mut diagnostic = Diagnostic::error(
                    Code::WrongType,
                    format!("`{sign}` takes two numbers"),
                    at,
                    format!("these are {} and {}", a.kind(), b.kind()),
                );
                if layers {
                    diagnostic = diagnostic.help(
                        "`f >> g` runs one layer after the other; `residual(f)` adds a layer's output to its input",
                    );
                }
                self.report(diagnostic)
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // One operation: its sign, both numbers, both places.
    fn whole(&mut self, op: BinaryOp, sign: &str, a: i64, b: i64, left: &Expr, right: &Expr, at: Origin) -> Value {
        let result = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            BinaryOp::Div | BinaryOp::Or => {
                if a.checked_rem(b) != Some(0) {
                    let left_text = self.sources.text(Origin { file: at.file, span: left.span }).to_owned();
                    let right_text = self.sources.text(Origin { file: at.file, span: right.span }).to_owned();
                    let mut diagnostic = Diagnostic::error(
                        Code::Division,
                        if b == 0 { format!("{a} / 0 is no number") } else { format!("{a} does not divide by {b}") },
                        at,
                        format!("{a} / {b} must come out even"),
                    );
                    if right_text != b.to_string() {
                        diagnostic = diagnostic.note(format!("`{left_text}` is {a}, and `{right_text}` is {b}"));
                    }
                    if b > 0 && a > 0 {
                        let divisors: Vec<String> = near_divisors(a, b).iter().map(i64::to_string).collect();
                        diagnostic = diagnostic.note(format!("near {b}, {a} divides by {}", divisors.join(" and ")));
                    }
                    return self.report(diagnostic);
                }
                a.checked_div(b)
            }
        };
        match result {
            Some(n) => Value::int(n),
            None => self.report(Diagnostic::error(
                Code::TooLarge,
                format!("{a} {sign} {b} is beyond all bounds"),
                at,
                "does not fit a 64-bit number",
            )),
        }
    }
}

/// The divisors of `a` next below and next above `b`.
fn near_divisors(a: i64, b: i64) -> Vec<i64> {
    let below = (1..b.min(10_000)).rev().find(|d| a % d == 0);
    let above = (b.saturating_add(1)..=a.min(b.saturating_add(10_000))).find(|d| a % d == 0);
    below.into_iter().chain(above).collect()
}

/// Whether a value can be piped from.
pub(crate) fn is_stream(value: &Value) -> bool {
    match value {
        Value::Stream(_) | Value::UnknownInput => true,
        Value::Tuple(items) => !items.is_empty() && items.iter().all(is_stream),
        _ => false,
    }
}

/// A step of a pipe is shown where it stands there, not where a `let` defined it.
fn at_step(value: Value, at: Origin) -> Value {
    match value {
        Value::Layer(layer) => Value::Layer(Rc::new(Layer { origin: at, ..(*layer).clone() })),
        Value::Definition(definition) if definition.sort() == "layer" && definition.params().is_empty() => {
            Layer::configured(LayerKind::Definition { definition, bound: Vec::new() }, at)
        }
        other => other,
    }
}
