//! Arguments to parameters: by position, then by name, then by default.

use std::collections::BTreeMap;
use std::rc::Rc;

use lmv_grammar::ast::{Arg, Comparison, Expr, ExprKind, Fact, ItemKind};

use super::matching::{Bindings, as_value};
use super::{Elaborator, Kind, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::library;
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, Layer, Value};

impl Elaborator<'_> {
    /// Binds the arguments of a call at `call`; `None` when something was wrong and has been reported.
    pub(super) fn bind(
        &mut self,
        definition: &Rc<Definition>,
        args: &[Arg],
        place: &Place,
        call: Origin,
    ) -> Option<Vec<Bound>> {
        let params = definition.params();
        let known: Vec<&str> = params.iter().map(|param| param.name.text.as_str()).collect();
        let mut given: Vec<Option<Bound>> = params.iter().map(|_| None).collect();
        let mut sound = true;
        if self.applied_by_brackets(definition, args, place, call) {
            return None;
        }
        let first_named = args.iter().position(|arg| arg.name.is_some()).unwrap_or(args.len());
        for (index, arg) in args.iter().enumerate() {
            let file = place.env.file;
            let written = Origin { file, span: arg.value.span };
            let slot = match &arg.name {
                None if index > first_named => {
                    self.report(
                        Diagnostic::error(
                            Code::UnknownArgument,
                            "an argument without a name stands behind one with a name",
                            written,
                            "which one is this?",
                        )
                        .note("arguments by position come first; a decimal point is a point: `0.001`"),
                    );
                    None
                }
                None if index < params.len() => Some(index),
                None => {
                    let takes = match params.len() {
                        0 => "takes no arguments".to_owned(),
                        1 => format!("takes one argument, `{}`", known[0]),
                        n => format!("takes {n} arguments: `{}`", known.join("`, `")),
                    };
                    let diagnostic = Diagnostic::error(
                        Code::UnknownArgument,
                        format!("`{}` is given too many arguments", definition.name),
                        written,
                        "one too many",
                    )
                    .note(format!("`{}` {takes}", definition.name));
                    let layer_first = params.is_empty() && args.len() == 1 && definition.sort() == "layer";
                    self.report(match layer_first {
                        true => {
                            let first = self.sources.text(written);
                            let piped = format!("{first} >> {}", definition.name);
                            diagnostic.replace("a pipe runs one layer after the other", call, piped)
                        }
                        false => diagnostic,
                    });
                    None
                }
                Some(name) => {
                    let slot = known.iter().position(|known| *known == name.text);
                    if slot.is_none() {
                        let at = Origin { file, span: name.span };
                        let diagnostic = Diagnostic::error(
                            Code::UnknownArgument,
                            format!("`{}` has no argument `{}`", definition.name, name.text),
                            at,
                            "not one of its arguments",
                        );
                        self.report(diagnostic.did_you_mean_or(&name.text, &known, at, |diagnostic| match known[..] {
                            [] => diagnostic.note("it takes none"),
                            _ => diagnostic.note(format!("it takes `{}`", known.join("`, `"))),
                        }));
                    }
                    slot
                }
            };
            let wanted = match slot {
                Some(slot) => wanted_of(definition.sort(), params[slot].default.as_ref()),
                None => (definition.sort() == "layer").then_some(Kind::Argument),
            };
            if let Some(kind) = wanted {
                self.want(kind, &arg.value, file);
            }
            let value = self.eval(&arg.value, place);
            let Some(slot) = slot else {
                sound = false;
                continue;
            };
            if let Some(earlier) = &given[slot] {
                let mut diagnostic = Diagnostic::error(
                    Code::RepeatedArgument,
                    format!("`{}` is given `{}` twice", definition.name, known[slot]),
                    written,
                    "given again here",
                );
                if let Some(first) = earlier.written {
                    diagnostic = diagnostic.also(first, "first given here");
                }
                let by_place = args.get(slot).is_some_and(|first| first.name.is_none()) && arg.name.is_some();
                let help = match by_place {
                    true => format!("what stands in place {} is `{}` already: keep one of them", slot + 1, known[slot]),
                    false => "keep one of them".to_owned(),
                };
                self.report(diagnostic.help(help));
                sound = false;
                continue;
            }
            given[slot] =
                Some(Bound { name: known[slot].to_owned(), value: in_scope(value, place), written: Some(written) });
        }
        if !sound {
            return None;
        }
        self.complete(definition, given, call)
    }

    /// Whether a layer is called on a stream, `head(x)`, as another language would apply it; then that is reported.
    fn applied_by_brackets(&mut self, definition: &Definition, args: &[Arg], place: &Place, call: Origin) -> bool {
        if definition.sort() != "layer" {
            return false;
        }
        let Some((flows, others)) = self.streams_and_others(args, place, call) else { return false };
        let stream = args.iter().find(|arg| self.streams_and_others(std::slice::from_ref(*arg), place, call).is_some());
        let at = stream.map_or(call, |arg| Origin { file: call.file, span: arg.value.span });
        self.report(
            Diagnostic::error(
                Code::WrongType,
                format!("`{}` is not applied by brackets", definition.name),
                at,
                "this is a stream",
            )
            .note("a call configures a layer, a pipe applies it")
            .replace("pipe it in", call, format!("{flows} >> {}{others}", definition.name)),
        );
        true
    }

    /// Fills what was not given from the defaults, in order, so that a default may name the parameters before it.
    pub(crate) fn complete(
        &mut self,
        definition: &Rc<Definition>,
        given: Vec<Option<Bound>>,
        call: Origin,
    ) -> Option<Vec<Bound>> {
        let params = definition.params();
        let mut bound: Vec<Bound> = Vec::with_capacity(params.len());
        let mut missing = Vec::new();
        let mut sound = true;
        for (param, given) in params.iter().zip(given) {
            let name = param.name.text.clone();
            match (given, &param.default) {
                (Some(given), default) => {
                    if let Some(default) = default {
                        let expected = self.default_of(definition, default, &bound);
                        sound &= self.check_type(definition, &given, &expected);
                    }
                    if matches!(given.value, Value::Error) {
                        sound = false;
                    }
                    bound.push(given);
                }
                (None, Some(default)) => {
                    // What is wrong with a recipe's default, `data.image`, is wrong with the use of the recipe.
                    let value = match definition.sort() {
                        "recipe" => self
                            .framed(&definition.name, call, |this| this.default_of(definition, default, &bound))
                            .unwrap_or(Value::Error),
                        _ => self.default_of(definition, default, &bound),
                    };
                    bound.push(Bound { name, value, written: None });
                }
                (None, None) => missing.push(name),
            }
        }
        if !missing.is_empty() {
            let all: Vec<&str> = params.iter().map(|param| param.name.text.as_str()).collect();
            let diagnostic = Diagnostic::error(
                Code::MissingArgument,
                format!("`{}` is not given `{}`", definition.name, missing.join("`, `")),
                call,
                format!("needs `{}`", missing.join("`, `")),
            )
            .also(definition.origin(), "declared here")
            .note(format!("`{}` takes `{}`", definition.name, all.join("`, `")));
            // As it would read with them, where it stands in the user's file.
            let written = self.sources.text(call);
            let added: Vec<String> = missing.iter().map(|name| format!("{name} = …")).collect();
            let with_them = match written.strip_suffix(')') {
                Some(call) if call.ends_with('(') => format!("{call}{})", added.join(", ")),
                Some(call) => format!("{call}, {})", added.join(", ")),
                None => format!("{written}({})", added.join(", ")),
            };
            let begins = written.trim_end_matches(')').starts_with(definition.name.as_str());
            self.report(match begins && !with_them.contains('\n') {
                true => diagnostic.help(format!("for example `{with_them}`")),
                false => diagnostic,
            });
            return None;
        }
        (sound && self.requirements_hold(definition, &bound, call)).then_some(bound)
    }

    /// Whether the arguments satisfy the `require` lines of an `extern`; those that do not are reported. Those that do not
    /// satisfy an `expect` line are warned of.
    /// One that names a dim of the stream waits until the layer is put onto one.
    pub(super) fn requirements_hold(&mut self, definition: &Rc<Definition>, bound: &[Bound], call: Origin) -> bool {
        let ItemKind::Extern { facts, .. } = definition.kind() else { return true };
        let mut hold = true;
        for fact in facts {
            let Fact::Require { must, first, rest, span } = fact else { continue };
            let of_the_stream = |expr: &Expr| match &expr.kind {
                ExprKind::Name(name) => !bound.iter().any(|bound| bound.name == *name),
                _ => false,
            };
            if of_the_stream(first) || rest.iter().any(|(_, expr)| of_the_stream(expr)) {
                continue;
            }
            let required = Origin { file: definition.file, span: *span };
            let named = |expr: &Expr| match &expr.kind {
                ExprKind::Name(name) => bound.iter().find(|bound| bound.name == *name),
                _ => None,
            };
            let exprs = || std::iter::once(first).chain(rest.iter().map(|(_, expr)| expr));
            // What has bounds is a number.
            let no_number = exprs().filter_map(named).find(|bound| match &bound.value {
                Value::Error | Value::Dim(_) | Value::Param(_) => false,
                Value::Config(value) => !matches!(value, Config::Int(_) | Config::Float(_) | Config::Unknown(_)),
                _ => true,
            });
            if let Some(bound) = no_number {
                let message = format!("`{}` of `{}` is a number", bound.name, definition.name);
                let label = format!("this is {}", bound.value.kind());
                self.report(
                    Diagnostic::error(Code::WrongType, message, bound.written.unwrap_or(call), label)
                        .also(required, "declared here"),
                );
                hold = false;
                continue;
            }
            let mut before = self.number(definition, bound, first);
            for (comparison, expr) in rest {
                let number = self.number(definition, bound, expr);
                let holds = match (before, number, comparison) {
                    (Some(a), Some(b), Comparison::Less) => a < b,
                    (Some(a), Some(b), Comparison::AtMost) => a <= b,
                    // What only the data tells is not known yet, and what is no number is reported where it is used.
                    _ => true,
                };
                before = number;
                if holds {
                    continue;
                }
                hold &= !must;
                let about = exprs().find_map(named);
                let at = about.and_then(|bound| bound.written).unwrap_or(call);
                let label = match about {
                    Some(Bound { name, value: Value::Config(value), .. }) => format!("`{name}` is {value}"),
                    _ => "given here".to_owned(),
                };
                let text = self.sources.text(required).trim_start_matches("require").trim_start_matches("expect");
                let (name, text) = (&definition.name, text.trim());
                let mut diagnostic = match must {
                    true => Diagnostic::error(Code::OutOfRange, format!("`{name}` needs {text}"), at, label),
                    false => Diagnostic::warning(Code::Unlikely, format!("`{name}` expects {text}"), at, label),
                }
                .also(required, "declared here");
                // What the others come to that are named and do not stand there as numbers.
                for other in exprs().filter_map(named) {
                    if let (true, Value::Config(value)) = (about.is_some_and(|a| a.name != other.name), &other.value) {
                        diagnostic = diagnostic.note(format!("`{}` is {value}", other.name));
                    }
                }
                self.report(match must {
                    true => diagnostic,
                    false => diagnostic.help(format!("`lmvc explain {name}` says what it comes to")),
                });
                break;
            }
        }
        hold
    }

    /// The same for a loss or a metric, once the dims are known of what it is taken of.
    pub(crate) fn bounds_of_a_measure(
        &mut self,
        definition: &Rc<Definition>,
        arguments: &BTreeMap<String, Config>,
        bindings: &Bindings,
        call: Origin,
    ) -> bool {
        let arguments = arguments.iter().map(|(name, value)| (name.clone(), Value::Config(value.clone())));
        let dims = bindings.dims.iter().map(|(name, dim)| (name.clone(), as_value(dim)));
        let bound: Vec<Bound> =
            arguments.chain(dims).map(|(name, value)| Bound { name, value, written: None }).collect();
        self.requirements_hold(definition, &bound, call)
    }

    /// An expression over the arguments as a number, if it is one already.
    fn number(&mut self, definition: &Rc<Definition>, bound: &[Bound], expr: &Expr) -> Option<f64> {
        match self.default_of(definition, expr, bound) {
            Value::Config(value) => value.float(),
            _ => None,
        }
    }

    fn default_of(&mut self, definition: &Rc<Definition>, default: &lmv_grammar::ast::Expr, bound: &[Bound]) -> Value {
        // Most defaults are a number or another argument: they are worth what they say.
        match &default.kind {
            ExprKind::Int(n) => return Value::int(*n),
            ExprKind::Float(x) => return Value::Config(Config::Float(*x)),
            ExprKind::Bool(b) => return Value::Config(Config::Bool(*b)),
            ExprKind::Name(name) => {
                if let Some(bound) = bound.iter().find(|bound| bound.name == *name) {
                    return bound.value.clone();
                }
            }
            _ => {}
        }
        let env = Env::within(&Env::top(definition.file), names(bound));
        let place = Place { env, scope: crate::value::Scope::root() };
        self.eval(default, &place)
    }

    /// A given value must be of the kind of the default: a truth value for `true`, a number for `1e-5`, a whole number
    /// for `4`.
    fn check_type(&mut self, definition: &Definition, given: &Bound, default: &Value) -> bool {
        if let Value::List(defaults) = default {
            return self.check_parts(definition, given, defaults);
        }
        let (Value::Config(default), Some(written)) = (default, given.written) else { return true };
        let fits = match (default, &given.value) {
            // Not known yet.
            (_, Value::Error | Value::Dim(_) | Value::Param(_) | Value::Config(Config::Unknown(_))) => true,
            (Config::Bool(_), Value::Config(value)) => matches!(value, Config::Bool(_)),
            (Config::Int(_), Value::Config(value)) => matches!(value, Config::Int(_)),
            (Config::Float(_), Value::Config(value)) => matches!(value, Config::Int(_) | Config::Float(_)),
            (Config::Str(_), Value::Config(value)) => matches!(value, Config::Str(_)),
            (Config::Path(_), Value::Config(value)) => matches!(value, Config::Path(_)),
            (Config::Bool(_) | Config::Int(_) | Config::Float(_) | Config::Str(_) | Config::Path(_), _) => false,
            _ => true,
        };
        if !fits {
            let mut diagnostic = Diagnostic::error(
                Code::WrongType,
                format!("`{}` of `{}` is {}", given.name, definition.name, default.kind()),
                written,
                format!("this is {}", given.value.kind()),
            )
            .note(format!("left out, it is `{default}`"));
            if let (Config::Path(_), Value::Config(Config::Str(text))) = (default, &given.value) {
                // A place on one machine is no name: then the name that is meant by default.
                let name = match text.is_empty() || text.contains(['/', '\\']) {
                    true => default.to_string(),
                    false => Config::Path(text.clone()).to_string(),
                };
                diagnostic =
                    diagnostic.replace("paths go by name, so that a spec works on every machine", written, name);
            }
            self.report(diagnostic);
        }
        fits
    }

    /// Where the default is a list of parts of one kind, what is given must be such a list, and have something in it.
    fn check_parts(&mut self, definition: &Definition, given: &Bound, defaults: &[(Value, Origin)]) -> bool {
        let kind_of = |value: &Value| match value {
            Value::Definition(definition) => Some(definition.sort().to_owned()),
            Value::Config(Config::Call(call)) => Some(call.kind.clone()),
            _ => None,
        };
        let (Some(kind), Some(written)) = (defaults.first().and_then(|(value, _)| kind_of(value)), given.written)
        else {
            return true;
        };
        let wrong = match &given.value {
            Value::Error | Value::Dim(_) | Value::Param(_) | Value::Config(Config::Unknown(_)) => return true,
            Value::List(items) => {
                let mut wrong = items.is_empty().then(|| (written, "nothing is in it".to_owned()));
                for (item, at) in items.clone() {
                    let is = item.kind();
                    let Some(settled) = self.settled(item, at) else { return false };
                    let fits = match &settled {
                        Config::Call(call) => library::is_a(&call.kind, &kind),
                        other => matches!(other, Config::Unknown(_)),
                    };
                    if !fits {
                        wrong = Some((at, format!("this is {is}")));
                        break;
                    }
                }
                wrong
            }
            other => Some((written, format!("this is {}", other.kind()))),
        };
        let Some((at, label)) = wrong else { return true };
        let names = library::in_words(&library::definition_names(&kind));
        self.report(
            Diagnostic::error(
                Code::WrongType,
                format!("`{}` of `{}` is a list of {kind}s", given.name, definition.name),
                at,
                label,
            )
            .note(format!("the library has {names}")),
        );
        false
    }
}

/// What an argument is wanted to be, as far as the default tells of the parameter, and the sort of what is configured.
fn wanted_of(sort: &str, default: Option<&Expr>) -> Option<Kind> {
    let path = |callee: &Expr| matches!(&callee.kind, ExprKind::Name(name) if name == "path");
    match (default.map(|default| &default.kind), sort) {
        (Some(ExprKind::Str(_)), _) => Some(Kind::Text),
        (Some(ExprKind::Call(callee, _)), _) if path(callee) => Some(Kind::Path),
        (Some(ExprKind::Int(_) | ExprKind::Float(_)), "layer") => Some(Kind::Number),
        (_, "layer") => Some(Kind::Argument),
        (None, _) => Some(Kind::Anything),
        (Some(_), _) => None,
    }
}

/// Bound arguments as names of an environment.
pub(super) fn names(bound: &[Bound]) -> Vec<(String, Value)> {
    bound.iter().map(|bound| (bound.name.clone(), bound.value.clone())).collect()
}

/// A layer that is handed to another as an argument keeps the place where it was written in parameter paths.
fn in_scope(value: Value, place: &Place) -> Value {
    match value {
        Value::Layer(layer) if layer.scope.is_none() => {
            Value::Layer(Rc::new(Layer { scope: Some(place.scope.clone()), ..(*layer).clone() }))
        }
        other => other,
    }
}
