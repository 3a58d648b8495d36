//! Habits of other languages that the grammar reads, and that mean nothing here: `nn.Linear(…)`, `f(x)`, `x + f`,
//! `x.shape`. Each message shows the same in lmv, with the user's own names.

use lmv_grammar::ast::{Arg, BinaryOp, Expr, ExprKind, Name};

use super::wanted::Kind;
use super::{Elaborator, Place};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::modules::Found;
use crate::near::meant;
use crate::source::Origin;
use crate::value::Value;

/// Names that stand before a dot in Python, and that are nothing here.
const LIBRARIES: [&str; 18] = [
    "nn",
    "torch",
    "F",
    "functional",
    "optim",
    "torchvision",
    "transforms",
    "timm",
    "transformers",
    "tf",
    "keras",
    "layers",
    "np",
    "numpy",
    "jnp",
    "jax",
    "flax",
    "math",
];

/// Kinds of parts that a name of another library can stand for, in the order in which they are tried.
const KINDS: [Kind; 5] =
    [Kind::Layer, Kind::Part("loss"), Kind::Part("optimizer"), Kind::Part("schedule"), Kind::Part("augment")];

/// `torch.nn.Linear`: the first name and the last one.
fn dotted(expr: &Expr) -> Option<(&str, &Name)> {
    let ExprKind::Field(of, last) = &expr.kind else { return None };
    let mut of = &of.kind;
    loop {
        match of {
            ExprKind::Field(deeper, _) => of = &deeper.kind,
            ExprKind::Name(first) => return Some((first, last)),
            _ => return None,
        }
    }
}

impl Elaborator<'_> {
    /// A name of another library, as `nn.Linear` and `self.fc`, which is then reported.
    pub(super) fn of_another_library(
        &mut self,
        expr: &Expr,
        args: Option<&[Arg]>,
        place: &Place,
        at: Origin,
    ) -> Option<Value> {
        let (first, last) = dotted(expr)?;
        let known = place.env.get(first).is_some() || !matches!(self.modules.find(at.file, first), Found::Nothing);
        if known || !LIBRARIES.contains(&first) && first != "self" {
            return None;
        }
        let expr_at = Origin { file: at.file, span: expr.span };
        let whole = self.sources.text(expr_at).to_owned();
        let message = format!("there is no `{whole}`");
        if first == "self" {
            let diagnostic = Diagnostic::error(Code::UnknownName, message, expr_at, "a layer has no fields")
                .help("a part of a layer stands in its body, where it is used; `linear(8, 8) as fc` gives it a name");
            return Some(self.report(diagnostic));
        }
        let diagnostic = Diagnostic::error(
            Code::UnknownName,
            message,
            expr_at,
            format!("`{first}` is a library of another language"),
        );
        let args = args.unwrap_or_default();
        if last.text == "Sequential" {
            let steps: Vec<&str> =
                args.iter().map(|arg| self.sources.text(Origin { file: at.file, span: arg.value.span })).collect();
            let piped = steps.join(" >> ");
            self.report(match steps.as_slice() {
                [] => diagnostic.help("steps in a row are a pipe: `linear(8, 8) >> gelu`"),
                _ => diagnostic.replace("steps in a row are a pipe", at, piped),
            });
            args.iter().for_each(|arg| drop(self.eval(&arg.value, place)));
            return Some(Value::Error);
        }
        if last.text == "ModuleList" {
            return Some(self.report(diagnostic.help("layers of one kind in a row are `repeat(12) { … }`")));
        }
        let names = self.names_in_reach(place, at.file);
        let ours = KINDS.into_iter().find_map(|kind| {
            let fitting: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| self.fits(at.file, name, kind)).collect();
            meant(&last.text, &fitting).map(str::to_owned)
        });
        Some(self.report(match (ours, self.streams_and_others(args, place, at)) {
            (Some(ours), Some((flows, others))) => diagnostic.replace(
                "here it is a layer, and a pipe applies it",
                at,
                format!("{flows} >> {ours}{others}"),
            ),
            (Some(ours), None) => diagnostic.replace(format!("here it is called `{ours}`"), expr_at, ours),
            (None, _) => diagnostic.help("`lmvc explain` lists what the library has"),
        }))
    }

    /// What flows in a layer that is applied by brackets, `f(x, 3)`, and the brackets that are left: `x` and `(3)`.
    /// `None` where no stream is among the arguments.
    pub(super) fn streams_and_others(&self, args: &[Arg], place: &Place, at: Origin) -> Option<(String, String)> {
        let mut flows = Vec::new();
        let mut others = Vec::new();
        for arg in args {
            match self.piped(&arg.value, place, at) {
                Some(text) => flows.push(text),
                None => {
                    let name = arg.name.as_ref().map_or(String::new(), |name| format!("{} = ", name.text));
                    let value = self.sources.text(Origin { file: at.file, span: arg.value.span });
                    others.push(format!("{name}{value}"));
                }
            }
        }
        let flows = match flows.as_slice() {
            [] => return None,
            [one] => one.clone(),
            several => format!("({})", several.join(", ")),
        };
        Some((flows, if others.is_empty() { String::new() } else { format!("({})", others.join(", ")) }))
    }

    /// An expression that is a stream, with what is applied by brackets in it piped: `g(f(x))` as `x >> f >> g`.
    fn piped(&self, expr: &Expr, place: &Place, at: Origin) -> Option<String> {
        let text = |expr: &Expr| self.sources.text(Origin { file: at.file, span: expr.span }).to_owned();
        match &expr.kind {
            ExprKind::Name(name) => self.is_stream_name(name, place).then(|| name.clone()),
            ExprKind::Pipe(steps) => self.piped(steps.first()?, place, at).map(|_| text(expr)),
            ExprKind::Call(callee, args) => {
                let (flows, others) = self.streams_and_others(args, place, at)?;
                Some(format!("{flows} >> {}{others}", text(callee)))
            }
            _ => None,
        }
    }

    /// A sum, difference or product of what are no numbers, as the layer that makes it.
    pub(super) fn as_a_layer(
        &self,
        op: BinaryOp,
        a: (&Value, &Expr),
        b: (&Value, &Expr),
        at: Origin,
        diagnostic: Diagnostic,
    ) -> Diagnostic {
        let text = |expr: &Expr| self.sources.text(Origin { file: at.file, span: expr.span }).to_owned();
        let is_layer = |value: &Value| match value {
            Value::Layer(_) => true,
            Value::Definition(definition) => definition.sort() == "layer",
            _ => false,
        };
        let of_two = match op {
            BinaryOp::Add => Some("add"),
            BinaryOp::Sub => Some("subtract"),
            BinaryOp::Mul => Some("multiply"),
            _ => None,
        };
        // Within a longer sum the pipe needs brackets.
        let source = &self.sources.get(at.file).text;
        let goes_on = source.get(at.span.end..).is_some_and(|rest| rest.trim_start().starts_with(['+', '-', '*', '/']));
        let within = |pipe: String| if goes_on { format!("({pipe})") } else { pipe };
        let (left, right) = (text(a.1), text(b.1));
        let piped_on = source.get(at.span.end..).is_some_and(|rest| rest.trim_start().starts_with(">>"));
        match (a.0, b.0, of_two) {
            (Value::Stream(_), layer, Some("add")) if is_layer(layer) && piped_on => diagnostic.help(format!(
                "`+` binds closer than `>>`; what steps make of a stream is added to it by `{left} >> residual({right} >> …)`"
            )),
            (Value::Stream(_), Value::Stream(_), Some(layer)) => diagnostic.replace(
                "of two streams it is a layer that takes both",
                at,
                within(format!("({left}, {right}) >> {layer}")),
            ),
            (Value::Stream(_), layer, Some("add")) if is_layer(layer) => diagnostic.replace(
                "what a layer makes of a stream is added to it by `residual`",
                at,
                within(format!("{left} >> residual({right})")),
            ),
            (layer, Value::Stream(_), Some("add")) if is_layer(layer) => diagnostic.replace(
                "what a layer makes of a stream is added to it by `residual`",
                at,
                within(format!("{right} >> residual({left})")),
            ),
            (Value::Config(crate::config::Config::Int(_)), layer, Some("multiply")) if is_layer(layer) => {
                diagnostic.replace("layers of one kind in a row", at, format!("repeat({left}) {{ {right} }}"))
            }
            (layer, Value::Config(crate::config::Config::Int(_)), Some("multiply")) if is_layer(layer) => {
                diagnostic.replace("layers of one kind in a row", at, format!("repeat({right}) {{ {left} }}"))
            }
            (a, b, _) if is_layer(a) && is_layer(b) => diagnostic
                .help("`f >> g` runs one layer after the other; `residual(f)` adds a layer's output to its input"),
            _ => diagnostic,
        }
    }

    /// What to say of a part of a stream: `x.shape`, `x.mean`.
    pub(super) fn part_of_a_stream(&self, name: &Name, diagnostic: Diagnostic) -> Diagnostic {
        if ["shape", "size", "dim", "ndim"].contains(&name.text.as_str()) {
            return diagnostic.help(
                "a layer reads the sizes of a stream off its signature: in `layer f : [T, d] -> [T, d] { … }` they are `T` and `d`",
            );
        }
        let layers: Vec<String> = crate::library::prelude().keys().map(|name| (*name).to_owned()).collect();
        let layers: Vec<&str> =
            layers.iter().map(String::as_str).filter(|known| self.fits_in_prelude(known, Kind::Layer)).collect();
        match meant(&name.text, &layers) {
            Some(layer) => diagnostic.help(format!("what is made of a stream is made by a layer: `x >> {layer}`")),
            None => diagnostic.help("what is made of a stream is made by a layer: `x >> mean_tokens`"),
        }
    }
}
