//! What an expression is worth.

use std::rc::Rc;

use lmv_grammar::ast::{Block, Expr, ExprKind, ItemKind, Name, Span};

use super::{Elaborator, Kind, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::library;
use crate::modules::Found;
use crate::shape::Dim;
use crate::source::{FileId, Origin};
use crate::value::{Definition, Env, Layer, LayerKind, Llm, Value};

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
            ExprKind::Name(name) => self.name(name, place, at),
            ExprKind::Field(of, name) => {
                if let Some(reported) = self.of_another_library(expr, None, place, at) {
                    return reported;
                }
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
                (Value::Error | Value::Param(_), _) | (_, Value::Error | Value::Param(_)) => Value::Error,
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
                    count @ (Value::Config(Config::Int(_)) | Value::Param(_) | Value::Dim(_)) => Layer::configured(
                        LayerKind::Repeat {
                            count: match count {
                                Value::Config(Config::Int(count)) => Some(count),
                                _ => None,
                            },
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
                Value::Config(Config::Unknown(name)) => Value::Config(Config::Unknown(name)),
                Value::Dim(_) | Value::Param(_) => Value::Config(Config::Unknown("…".into())),
                Value::Error => Value::Error,
                other => self.report(Diagnostic::error(
                    Code::WrongType,
                    "`-` takes a number",
                    at,
                    format!("this is {}", other.kind()),
                )),
            },
            ExprKind::Binary(op, a, b) => {
                let wanted = self.wanted_at(at);
                wanted.into_iter().for_each(|kind| self.want(kind, a, at.file));
                let left = self.eval(a, place);
                wanted.into_iter().for_each(|kind| self.want(kind, b, at.file));
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
                let wanted = self.wanted_at(at);
                let each = |item: &Expr| {
                    wanted.into_iter().for_each(|kind| self.want(kind, item, at.file));
                    (self.eval(item, place), Origin { file: at.file, span: item.span })
                };
                let values: Vec<(Value, Origin)> = items.iter().map(each).collect();
                if values.iter().any(|(value, _)| matches!(value, Value::Error)) {
                    return Value::Error;
                }
                Value::List(values)
            }
            ExprKind::Record(fields) => self.record(fields, place, at),
            ExprKind::With(of, additions) => {
                let value = self.eval(of, place);
                self.with(value, additions, place, at)
            }
            ExprKind::As(of, name) => {
                let value = self.eval(of, place);
                self.named(value, &name.text, at)
            }
        }
    }

    /// `{ answer: x, pose: y }`: streams by name, or losses and metrics by the outputs that they are of.
    fn record(&mut self, fields: &[(Name, Expr)], place: &Place, at: Origin) -> Value {
        let mut values: Vec<(String, Value)> = Vec::new();
        let mut broken = fields.is_empty();
        if fields.is_empty() {
            self.report(
                Diagnostic::error(Code::WrongType, "a record without fields", at, "nothing is in it")
                    .help("for example `{ answer: x, pose: y }`"),
            );
        }
        for (name, expr) in fields {
            let value = self.eval(expr, place);
            broken |= matches!(value, Value::Error);
            if values.iter().any(|(earlier, _)| *earlier == name.text) {
                let name_at = Origin { file: at.file, span: name.span };
                let first =
                    fields.iter().find(|(earlier, _)| earlier.text == name.text).map_or(name.span, |(n, _)| n.span);
                self.report(
                    Diagnostic::error(
                        Code::RepeatedArgument,
                        format!("the record has `{}` twice", name.text),
                        name_at,
                        "given again here",
                    )
                    .also(Origin { file: at.file, span: first }, "first given here"),
                );
                broken = true;
                continue;
            }
            if let Value::Stream(stream) = &value {
                let prefix = &place.scope.path;
                let tap = if prefix.is_empty() { name.text.clone() } else { format!("{prefix}.{}", name.text) };
                self.graph.taps.push(crate::graph::Port { name: tap, stream: stream.id });
            }
            values.push((name.text.clone(), value));
        }
        if broken { Value::Error } else { Value::Record(values) }
    }

    /// Evaluates a block: its `let` lines in order, then its result. Streams that a `let` names become taps.
    pub(crate) fn block(&mut self, block: &Block, place: &Place) -> Value {
        self.block_for(None, block, place)
    }

    /// The same where something is wanted of the result.
    pub(super) fn block_for(&mut self, wanted: Option<Kind>, block: &Block, place: &Place) -> Value {
        let mut place = place.clone();
        for line in &block.lets {
            let value = self.eval(&line.value, &place);
            let at = Origin { file: place.env.file, span: line.value.span };
            let values = match (line.names.as_slice(), value) {
                ([_], value) => vec![value],
                (names, Value::Tuple(values)) if values.len() == names.len() => values,
                (names, Value::Error | Value::Param(_)) => vec![Value::Error; names.len()],
                (names, other) => {
                    self.names_and_values(names, &other, at);
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
        wanted.into_iter().for_each(|kind| self.want(kind, &block.result, place.env.file));
        self.eval(&block.result, &place)
    }

    /// Names of a tuple that are not as many as what they name.
    fn names_and_values(&mut self, names: &[Name], value: &Value, at: Origin) {
        let Some((first, rest)) = names.split_first() else { return };
        let names_at = Origin { file: at.file, span: rest.last().map_or(first.span, |last| first.span.to(last.span)) };
        let (given, label) = match value {
            Value::Tuple(items) => (format!("{} values", items.len()), format!("this is {} side by side", items.len())),
            Value::Stream(stream) => ("one stream".to_owned(), format!("gives {}", self.graph.streams[stream.id.0])),
            other => ("one value".to_owned(), format!("this is {}", other.kind())),
        };
        let message = format!("{} names are given {given}", names.len());
        let count = format!("{} names", names.len());
        let diagnostic = Diagnostic::error(Code::WrongType, message, at, label).also(names_at, count);
        let brackets = self.brackets_around(names_at);
        self.report(match value {
            Value::Tuple(items) => diagnostic.help(format!("a pattern names all {} of them", items.len())),
            Value::Stream(_) => diagnostic
                .replace("one stream has one name", brackets, &first.text)
                .help("two layers side by side give two: `let (a, b) = x >> (f, g)`"),
            _ => diagnostic.replace("one value has one name", brackets, &first.text),
        });
    }

    /// A place with the brackets that stand around it.
    fn brackets_around(&self, at: Origin) -> Origin {
        let text = &self.sources.get(at.file).text;
        let start = text[..at.span.start].trim_end().strip_suffix('(').map_or(at.span.start, str::len);
        let end = text[at.span.end..].find(')').map_or(at.span.end, |close| at.span.end + close + 1);
        Origin { file: at.file, span: Span::new(start, end) }
    }

    fn name(&mut self, name: &str, place: &Place, at: Origin) -> Value {
        if let Some(value) = place.env.get(name) {
            return value.clone();
        }
        if name == "data" {
            return Value::Data(self.data.clone());
        }
        match self.modules.find(at.file, name) {
            Found::One(definition) => {
                self.warn_of_another(name, at);
                self.definition(&definition, at)
            }
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
        if let Some((from, there)) = self.modules.imported_below(at.file, name) {
            let from_where = match library::module_of(from) {
                Some(module) => module.path.clone(),
                None => {
                    let (own, other) = (&self.sources.get(at.file).name, &self.sources.get(from).name);
                    format!("\"{}\"", files::between(own, other))
                }
            };
            let named = if there == name { there } else { format!("{there} as {name}") };
            let diagnostic = Diagnostic::error(
                Code::UnknownName,
                format!("`{name}` is not imported"),
                at,
                "the file that this one builds on imports it, and hands it on to none",
            );
            let line = format!("use {from_where} {{ {named} }}\n");
            return self.report(diagnostic.fix("import it here, too", self.top_of(at.file), line));
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
                [module] => diagnostic.fix("import it", self.top_of(at.file), format!("{}\n", line(module))),
                several => diagnostic
                    .note(format!("`{}` have one", several.join("`, `")))
                    .help(format!("import the one that is meant: `{}`", line(first))),
            });
        }
        match self.wanted_at(at) {
            Some(Kind::Text) => {
                return self.report(diagnostic.replace("a text stands in quotes", at, format!("\"{name}\"")));
            }
            Some(Kind::Path) => {
                let message = "paths go by a name in quotes";
                return self.report(diagnostic.replace(message, at, format!("path(\"{name}\")")));
            }
            _ => {}
        }
        if let Some(help) = word_of_python(name) {
            return self.report(diagnostic.help(help));
        }
        let wanted = self.wanted_at(at);
        let known = self.names_in_reach(place, at.file);
        let fitting: Vec<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|known| wanted.is_none_or(|kind| place.env.get(known).is_some() || self.fits(at.file, known, kind)))
            .collect();
        self.report(diagnostic.did_you_mean_or(name, &fitting, at, |diagnostic| match wanted {
            Some(Kind::Anything) => {
                let message = "a text stands in quotes, and a value of your own has its name by `let NAME = …`";
                diagnostic.replace(message, at, format!("\"{name}\""))
            }
            Some(kind) => diagnostic.help(kind.where_to_find()),
            None => diagnostic,
        }))
    }

    /// Where the first line of a file can be put.
    fn top_of(&self, file: FileId) -> Origin {
        let top = crate::source::top_of(&self.sources.get(file).text);
        Origin { file, span: Span::new(top, top) }
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
                    Value::Llm(llm) => match self.set_of_llm(&definition.name, llm) {
                        Value::Llm(llm) => Value::Llm(Rc::new(Llm {
                            name: definition.name.clone(),
                            origin: definition.origin(),
                            ..(*llm).clone()
                        })),
                        other => other,
                    },
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
            Value::Stream(_) | Value::UnknownInput => {
                let message = format!("a stream has no part `{}`", name.text);
                let diagnostic = Diagnostic::error(Code::UnknownField, message, name_at, "no such part");
                let diagnostic = self.part_of_a_stream(name, diagnostic);
                self.report(diagnostic)
            }
            // Without data the sizes that it would tell keep their names.
            Value::Data(None) => Value::Dim(Dim::named(&name.text)),
            Value::Data(Some(data)) => {
                if let Some(value) = data.call.arguments.get(&name.text) {
                    return Value::Config(value.clone());
                }
                let class = data.fields.iter().find(|(_, ty)| ty.is_label()).and_then(|(_, ty)| ty.classes.clone());
                if let ("classes", Some(dim)) = (name.text.as_str(), class) {
                    return super::matching::as_value(&dim);
                }
                let mut known: Vec<&str> = data.call.arguments.keys().map(String::as_str).collect();
                known.extend(data.fields.iter().any(|(_, ty)| ty.is_label()).then_some("classes"));
                known.sort_unstable();
                known.dedup();
                let diagnostic = Diagnostic::error(
                    Code::UnknownField,
                    format!("the data has no `{}`", name.text),
                    name_at,
                    "not a part of the data",
                )
                .also(data.origin, format!("`{}` stands here", data.call.name));
                self.report(diagnostic.did_you_mean_or(&name.text, &known, name_at, |diagnostic| {
                    diagnostic.note(format!("its parts are `{}`", known.join("`, `")))
                }))
            }
            Value::Record(fields) => {
                if let Some((_, value)) = fields.iter().find(|(field, _)| *field == name.text) {
                    return value.clone();
                }
                let known: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
                let diagnostic = Diagnostic::error(
                    Code::UnknownField,
                    format!("the record has no `{}`", name.text),
                    name_at,
                    "no such field",
                );
                self.report(diagnostic.did_you_mean_or(&name.text, &known, name_at, |diagnostic| {
                    diagnostic.note(format!("it has `{}`", known.join("`, `")))
                }))
            }
            Value::Error | Value::Param(_) => Value::Error,
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
            Value::Error | Value::Param(_) => return Value::Error,
            Value::Llm(llm) => {
                return self.report(
                    Diagnostic::error(Code::WrongType, "a language model is not a list", at, "which part of it?")
                        .help(format!("its last block is `{}.layer[{}]`", llm.name, llm.layers - 1)),
                );
            }
            other => {
                let streams = is_stream(&other);
                let diagnostic = Diagnostic::error(
                    Code::WrongType,
                    format!("{} cannot be indexed", other.kind()),
                    at,
                    "only the blocks of a language model are indexed, as in `llama7b.layer[31]`",
                );
                return self.report(match (other, streams) {
                    (Value::Tuple(items), true) => {
                        let names: Vec<String> = (0..items.len()).map(|index| format!("s{index}")).collect();
                        diagnostic.help(format!("a `let` names the parts of a tuple: `let ({}) = …`", names.join(", ")))
                    }
                    (_, true) => diagnostic.help("a layer picks one of the tokens: `x >> token(0)`"),
                    _ => diagnostic,
                });
            }
        };
        let (first, end) = match index {
            Value::Config(Config::Int(n)) => (n, n.saturating_add(1)),
            Value::Range(first, end) => (first, end),
            Value::Error => return Value::Error,
            // Whichever block it is, they are alike.
            Value::Param(_) | Value::Dim(_) => (0, 1),
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

    pub(super) fn named(&mut self, value: Value, name: &str, at: Origin) -> Value {
        match value {
            Value::Layer(layer) => Value::Layer(Rc::new(Layer { name: Some(name.to_owned()), ..(*layer).clone() })),
            Value::Definition(definition) if definition.sort() == "layer" => {
                let given = definition.params().iter().map(|_| None).collect();
                let Some(bound) = self.complete(&definition, given, at) else { return Value::Error };
                self.named(Layer::configured(LayerKind::Definition { definition, bound }, at), name, at)
            }
            Value::Error | Value::Param(_) => Value::Error,
            other => self.report(Diagnostic::error(
                Code::NotALayer,
                "`as` names a layer",
                at,
                format!("this is {}", other.kind()),
            )),
        }
    }

    /// Whether a name in reach stands for a stream.
    pub(super) fn is_stream_name(&self, name: &str, place: &Place) -> bool {
        place.env.get(name).is_some_and(is_stream)
    }

    /// A pipe that begins with a stream runs; one that begins with a layer is a layer.
    fn pipe(&mut self, steps: &[Expr], place: &Place, at: Origin) -> Value {
        let Some((first, rest)) = steps.split_first() else { return Value::Error };
        self.want(Kind::Layer, first, at.file);
        let mut value = self.eval(first, place);
        if is_stream(&value) {
            for step in rest {
                let step_at = Origin { file: at.file, span: step.span };
                self.want(Kind::Layer, step, at.file);
                let layer = self.eval(step, place);
                value = self.step(layer, value, place, step_at);
            }
            return value;
        }
        let broken = matches!(value, Value::Error);
        let mut values = vec![at_step(value, Origin { file: at.file, span: first.span })];
        for step in rest {
            let step_at = Origin { file: at.file, span: step.span };
            self.want(Kind::Layer, step, at.file);
            let value = self.eval(step, place);
            if is_stream(&value) {
                let text = self.sources.text(step_at);
                let before = Origin { file: at.file, span: first.span };
                let piped = format!("{text} >> {}", self.sources.text(before));
                let diagnostic = Diagnostic::error(
                    Code::NotALayer,
                    "a pipe begins with its stream",
                    step_at,
                    "this is a stream, and takes nothing",
                );
                return self.report(match rest.len() {
                    1 => diagnostic.replace("what flows stands first", at, piped),
                    _ => diagnostic.help(format!("what flows stands first: `{piped} >> …`")),
                });
            }
            values.push(at_step(value, step_at));
        }
        if broken {
            // It may have been a stream: what the pipe is cannot be told.
            return Value::Error;
        }
        Layer::configured(LayerKind::Pipe(values), at)
    }
}

/// What to write for a word that means something in Python.
fn word_of_python(name: &str) -> Option<&'static str> {
    Some(match name {
        "None" | "nil" | "null" => "what is not wanted is left out; a truth value is `false`",
        "self" | "super" | "forward" => {
            "the body of a layer sees its parameters, and `input`, the stream that comes in"
        }
        "range" => "a range is `0..12`, without its end; layers in a row are `repeat(12, i) { … }`",
        "len" => "a layer reads the sizes of a stream off its signature, as `T` in `[T, d] -> [T, d]`",
        "return" => "a body ends in what it gives, without a word in front",
        "print" => "`lmvc show` prints the model; `lmvc infer --tap NAME` writes what a stream holds",
        _ => return None,
    })
}

/// Whether a value can be piped from.
pub(crate) fn is_stream(value: &Value) -> bool {
    match value {
        Value::Stream(_) | Value::UnknownInput => true,
        Value::Tuple(items) => !items.is_empty() && items.iter().all(is_stream),
        Value::Record(fields) => !fields.is_empty() && fields.iter().all(|(_, value)| is_stream(value)),
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
        // Its arguments are asked for where it is applied; a pipe of one step keeps the place till then.
        Value::Definition(definition) if definition.sort() == "layer" => {
            Layer::configured(LayerKind::Pipe(vec![Value::Definition(definition)]), at)
        }
        other @ (Value::Llm(_) | Value::LlmLayers(_) | Value::Config(_) | Value::List(_) | Value::Range(..)) => {
            Layer::configured(LayerKind::Pipe(vec![other]), at)
        }
        other => other,
    }
}
