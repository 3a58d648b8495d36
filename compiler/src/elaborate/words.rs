//! The words that the language itself gives a meaning: `frozen`, `pretrained`, `shared`, `when`, `path`, …

use lmv_grammar::ast::Arg;

use super::{Elaborator, Kind, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::source::Origin;
use crate::value::{Layer, LayerKind, Mark, Value};

impl Elaborator<'_> {
    pub(super) fn mark(&mut self, mark: Mark, word: &str, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [Arg { name: None, value }] = args else {
            return self.report(
                Diagnostic::error(Code::UnknownArgument, format!("`{word}` takes one layer"), at, arguments(args))
                    .help(format!("for example `{word}(llama7b.layer[31])`")),
            );
        };
        let inner_at = Origin { file: at.file, span: value.span };
        self.want(Kind::Layer, value, at.file);
        let inner = self.eval(value, place);
        self.marked_layer(mark, inner, at, inner_at)
    }

    fn marked_layer(&mut self, mark: Mark, inner: Value, at: Origin, inner_at: Origin) -> Value {
        match &inner {
            Value::Error | Value::Param(_) => return Value::Error,
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

    pub(super) fn pretrained(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [Arg { name: None, value: name }, Arg { name: None, value: layer }] = args else {
            return self.report(
                Diagnostic::error(Code::UnknownArgument, "`pretrained` takes a name and a layer", at, arguments(args))
                    .help("for example `pretrained(\"deit_small\", vit_small)`"),
            );
        };
        let name_at = Origin { file: at.file, span: name.span };
        let layer_at = Origin { file: at.file, span: layer.span };
        self.want(Kind::Text, name, at.file);
        match self.eval(name, place) {
            Value::Config(Config::Str(weights)) => {
                self.want(Kind::Layer, layer, at.file);
                let inner = self.eval(layer, place);
                self.marked_layer(Mark::Pretrained(weights), inner, at, layer_at)
            }
            Value::Error | Value::Param(_) => Value::Error,
            other => self.report(
                Diagnostic::error(
                    Code::WrongType,
                    "weights go by a name in quotes",
                    name_at,
                    format!("this is {}", other.kind()),
                )
                .help("the name of the weights comes first: `pretrained(\"deit_small\", vit_small)`"),
            ),
        }
    }

    /// `shared(f)`: every use has the same parameters. They lie below the place where this is written.
    pub(super) fn shared(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [Arg { name: None, value }] = args else {
            return self.report(
                Diagnostic::error(Code::UnknownArgument, "`shared` takes one layer", at, arguments(args))
                    .help("for example `let f = shared(linear(8, 8))`"),
            );
        };
        let inner_at = Origin { file: at.file, span: value.span };
        let inner = self.eval(value, place);
        match &inner {
            Value::Error | Value::Param(_) => return Value::Error,
            inner if is_layer(inner) => {}
            other => {
                let what = format!("this is {}", other.kind());
                return self.report(Diagnostic::error(Code::NotALayer, "`shared` takes a layer", inner_at, what));
            }
        }
        let place = place.scope.clone();
        Layer::configured(LayerKind::Shared { inner, place, sharing: Default::default() }, at)
    }

    pub(super) fn path(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let given = match args {
            [Arg { name: None, value }] => {
                self.want(Kind::Text, value, at.file);
                Some(self.eval(value, place))
            }
            _ => None,
        };
        match given {
            Some(Value::Error | Value::Param(_)) => Value::Error,
            Some(Value::Config(Config::Str(name))) if name.contains(['/', '\\']) || name.is_empty() => self.report(
                Diagnostic::error(Code::WrongType, "a path goes by a name", at, "this looks like a place on one machine")
                    .note("specs are portable: where a name lies is said in lmv.toml, in the environment, or by `--path NAME=DIR`"),
            ),
            Some(Value::Config(Config::Str(name))) => Value::Config(Config::Path(name)),
            _ => self.report(
                Diagnostic::error(Code::WrongType, "`path` takes one name in quotes", at, "not a name")
                    .help("for example `path(\"imagenet\")`"),
            ),
        }
    }

    /// `when(condition, a, b)`: only the one that is chosen is looked at.
    pub(super) fn when(&mut self, args: &[Arg], place: &Place, at: Origin) -> Value {
        let [condition, yes, no] = args else {
            return self.report(
                Diagnostic::error(
                    Code::MissingArgument,
                    "`when` takes a condition and two values",
                    at,
                    arguments(args),
                )
                .help("for example `when(rope, rotary(heads), identity)`"),
            );
        };
        let condition_at = Origin { file: at.file, span: condition.value.span };
        match self.eval(&condition.value, place) {
            Value::Config(Config::Bool(true)) => self.eval(&yes.value, place),
            Value::Config(Config::Bool(false)) => self.eval(&no.value, place),
            Value::Error => Value::Error,
            // Not decided yet: both are looked at, and what they have in common is gone on with.
            Value::Param(_) => match (self.eval(&yes.value, place), self.eval(&no.value, place)) {
                (Value::Error | Value::Param(_), _) | (_, Value::Error | Value::Param(_)) => Value::Error,
                (yes, no) if is_layer(&yes) && is_layer(&no) => Layer::configured(LayerKind::OneOf(vec![yes, no]), at),
                _ => Value::Error,
            },
            other => self.report(Diagnostic::error(
                Code::WrongType,
                "a condition is true or false",
                condition_at,
                format!("this is {}", other.kind()),
            )),
        }
    }
}

fn is_layer(value: &Value) -> bool {
    match value {
        Value::Layer(_) => true,
        Value::Definition(definition) => definition.sort() == "layer",
        _ => false,
    }
}

/// How many arguments there are, in words.
fn arguments(args: &[Arg]) -> String {
    match args.len() {
        0 => "no argument here".to_owned(),
        1 => "one argument here".to_owned(),
        many => format!("{many} arguments here"),
    }
}
