//! Calls: what a definition is once its arguments are there, and what is left of a value that is a setting.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Arg, Expr, ExprKind, ItemKind, Name};

use super::binding::names;
use super::{Elaborator, Place};
use crate::codes::Code;
use crate::config::{Call, Config};
use crate::diagnostic::Diagnostic;
use crate::graph::LlmSizes;
use crate::overrides::Override;
use crate::shape::Dim;
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, Layer, LayerKind, Llm, Mark, Recipe, Scope, Value};

impl<'a> Elaborator<'a> {
    pub(super) fn call(&mut self, callee: &Expr, args: &[Arg], place: &Place, at: Origin) -> Value {
        if let ExprKind::Name(name) = &callee.kind
            && place.env.get(name).is_none()
        {
            match name.as_str() {
                "frozen" => return self.mark(Mark::Frozen, name, args, place, at),
                "trainable" => return self.mark(Mark::Trainable, name, args, place, at),
                "random" => return self.mark(Mark::Random, name, args, place, at),
                "pretrained" => return self.pretrained(args, place, at),
                "shared" => return self.shared(args, place, at),
                "path" => return self.path(args, place, at),
                "when" => return self.when(args, place, at),
                "max" | "min" => return self.extremum(name == "max", args, place, at),
                _ => {}
            }
        }
        if let Some(reported) = self.of_another_library(callee, Some(args), place, at) {
            return reported;
        }
        let value = self.eval(callee, place);
        match value {
            Value::Definition(definition) => {
                let Some(bound) = self.bind(&definition, args, place, at) else { return Value::Error };
                self.configured(&definition, bound, at)
            }
            Value::Error | Value::Param(_) => Value::Error,
            other => {
                if let Value::Layer(layer) = &other
                    && let LayerKind::Blocks { llm, first, end, overrides } = &layer.kind
                {
                    return self.override_block(llm, *first, *end, overrides, args, place, at);
                }
                let diagnostic =
                    Diagnostic::error(Code::WrongType, format!("{} cannot be called", other.kind()), at, "called here");
                let applied = match &other {
                    Value::Layer(_) => self.streams_and_others(args, place, at).filter(|(_, others)| others.is_empty()),
                    _ => None,
                };
                let layer = self.sources.text(Origin { file: at.file, span: callee.span });
                self.report(match (&other, args) {
                    _ if applied.is_some() => {
                        let flows = applied.map(|(flows, _)| flows).unwrap_or_default();
                        diagnostic.replace("a pipe applies a layer", at, format!("{flows} >> {layer}"))
                    }
                    (Value::LlmLayers(llm), [Arg { name: None, value }]) => {
                        let index = self.sources.text(Origin { file: at.file, span: value.span });
                        diagnostic.fix("a block is picked in brackets", at, format!("{}.layer[{index}]", llm.name))
                    }
                    (Value::Layer(_), [Arg { name: None, value }]) => {
                        let flows = self.sources.text(Origin { file: at.file, span: value.span });
                        diagnostic.help(format!("a call configures a layer, a pipe applies it: `{flows} >> {layer}`"))
                    }
                    _ => diagnostic.note("a call configures a layer; a pipe applies it: `x >> f(384)`"),
                })
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
                let (kind, name) = (kind.text.clone(), definition.name.clone());
                let call = Call { kind, name, arguments, with: BTreeMap::new(), on: None };
                Value::Config(Config::Call(Box::new(call)))
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
            Value::Dim(Dim::Open(size)) | Value::Param(size) => Some(Config::Unknown(size.plain())),
            Value::Dim(Dim::Known(n)) => Some(Config::Int(n)),
            Value::Record(fields) => {
                let settled = fields.into_iter().map(|(name, value)| Some((name, self.settled(value, at)?)));
                settled.collect::<Option<BTreeMap<_, _>>>().map(Config::Record)
            }
            Value::List(items) => {
                let settled = items.into_iter().map(|(item, _)| self.settled(item, at));
                settled.collect::<Option<Vec<_>>>().map(Config::List)
            }
            Value::Definition(definition) if definition.sort() == "layer" => Some(Config::Call(Box::new(Call {
                kind: "layer".into(),
                name: definition.name.clone(),
                arguments: BTreeMap::new(),
                with: BTreeMap::new(),
                on: None,
            }))),
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

    pub(super) fn with(&mut self, value: Value, additions: &[(Name, Expr)], place: &Place, at: Origin) -> Value {
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
            if !["no_decay", "scaled"].contains(&name.text.as_str()) {
                return self.report(
                    Diagnostic::error(
                        Code::UnknownField,
                        format!("`with` knows no `{}`", name.text),
                        Origin { file: at.file, span: name.span },
                        "unknown here",
                    )
                    .help("`no_decay: [rank(1), position, class_token]` names what weight decay leaves alone")
                    .help("`scaled: [times(0.1, rank(1))]` gives parameters a learning rate of their own"),
                );
            }
            let value = self.eval(value, place);
            let Some(value) = self.settled(value, value_at) else { return Value::Error };
            let (kinds, takes): (&[&str], _) = match name.text.as_str() {
                "no_decay" => (&["group", "layer"], "a list of groups and layers, as in `[rank(1), position]`"),
                _ => (&["scale"], "a list of scales, as in `[times(0.1, rank(1))]`"),
            };
            let of_kind = |part: &Config| match part {
                Config::Call(call) => kinds.contains(&call.kind.as_str()),
                Config::Unknown(_) => true,
                _ => false,
            };
            let wrong = match &value {
                Config::List(parts) => parts.iter().find(|part| !of_kind(part)),
                other => Some(other),
            };
            if let Some(wrong) = wrong {
                return self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("`{}` is {takes}", name.text),
                    value_at,
                    match &value {
                        Config::List(_) => format!("`{wrong}` in it is {}", wrong.kind()),
                        _ => format!("this is {}", wrong.kind()),
                    },
                ));
            }
            call.with.insert(name.text.clone(), value);
        }
        Value::Config(Config::Call(call))
    }

    /// A language model of a family, by its arguments.
    pub(super) fn llm(&mut self, definition: &Rc<Definition>, bound: Vec<Bound>, at: Origin) -> Value {
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
        let unwritten = bound.iter().filter(|bound| bound.written.is_none());
        let defaults = unwritten.map(|bound| bound.name.clone()).collect();
        let sizes = LlmSizes { family: definition.name.clone(), sizes, defaults };
        Value::Llm(Rc::new(Llm {
            name: definition.name.clone(),
            definition: definition.clone(),
            bound,
            sizes,
            layers,
            origin: at,
        }))
    }

    /// A language model by its name, with what was set of it from outside.
    pub(super) fn set_of_llm(&mut self, name: &str, llm: Rc<Llm>) -> Value {
        let all: &'a [Override] = self.set;
        let of_it = all.iter().filter_map(|set| match set.path.as_slice() {
            [llm, argument] if set.of_llm && llm == name => Some((argument, set)),
            _ => None,
        });
        let mut bound = llm.bound.clone();
        let mut any = None;
        for (argument, set) in of_it {
            let at = Origin { file: set.file, span: set.expr.span };
            let Some(place) = bound.iter_mut().find(|bound| bound.name == *argument) else {
                let known: Vec<&str> = llm.bound.iter().map(|bound| bound.name.as_str()).collect();
                return self.report(
                    Diagnostic::error(
                        Code::UnknownArgument,
                        format!("`{}` has no argument `{argument}`", llm.definition.name),
                        at,
                        "for this value",
                    )
                    .note(format!("it has `{}`", known.join("`, `"))),
                );
            };
            let outside = Place { env: Env::top(set.file), scope: Scope::root() };
            *place = Bound { value: self.eval(&set.expr, &outside), written: Some(at), ..place.clone() };
            any = Some(at);
        }
        match any {
            Some(at) => self.llm(&llm.definition, bound, at),
            None => Value::Llm(llm),
        }
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
            if !matches!(value, Value::Config(Config::Bool(_)) | Value::Error | Value::Param(_)) {
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
}
