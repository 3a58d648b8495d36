//! Arithmetic: numbers, sizes that have none yet, and sums of losses.

use lmv_grammar::ast::{Arg, BinaryOp, Expr, ExprKind};

use super::{Elaborator, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::shape::Dim;
use crate::size::Size;
use crate::source::Origin;
use crate::value::Value;

impl Elaborator<'_> {
    pub(super) fn extremum(&mut self, max: bool, args: &[Arg], place: &Place, at: Origin) -> Value {
        let values: Vec<Value> = args.iter().map(|arg| self.eval(&arg.value, place)).collect();
        if values.iter().any(|value| matches!(value, Value::Error)) {
            return Value::Error;
        }
        if values.iter().any(is_open) && values.iter().all(is_number) {
            let sizes: Vec<String> = values.iter().filter_map(size).map(|size| size.to_string()).collect();
            let name = format!("{}({})", if max { "max" } else { "min" }, sizes.join(", "));
            return Value::Dim(Dim::Open(Size::argument(&name)));
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

    pub(super) fn binary(&mut self, op: BinaryOp, a: Value, b: Value, left: &Expr, right: &Expr, at: Origin) -> Value {
        use Config::{Float, Int};
        if op == BinaryOp::Or {
            let left_at = Origin { file: at.file, span: left.span };
            let right_at = Origin { file: at.file, span: right.span };
            return match (self.settled(a, left_at), self.settled(b, right_at)) {
                (Some(a), Some(b)) => Value::Config(Config::Either(Box::new(a), Box::new(b))),
                _ => Value::Error,
            };
        }
        let sign = op.sign();
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
            // What is not known yet makes what comes of it unknown; sizes keep what they are made of.
            (Value::Config(Config::Unknown(_)), b) if is_number(&b) => Value::Config(Config::Unknown("…".into())),
            (a, Value::Config(Config::Unknown(_))) if is_number(&a) => Value::Config(Config::Unknown("…".into())),
            (a, b) if is_open(&a) && is_number(&b) || is_open(&b) && is_number(&a) => {
                let (Some(left_size), Some(right_size)) = (size(&a), size(&b)) else {
                    return Value::Config(Config::Unknown("…".into()));
                };
                self.of_sizes(op, sign, &left_size, &right_size, at)
            }
            (a, b) if is_loss(&a) || is_loss(&b) => self.losses(op, a, b, left, right, at),
            (a, b) => {
                let diagnostic = Diagnostic::error(
                    Code::WrongType,
                    format!("`{sign}` takes two numbers"),
                    at,
                    format!("these are {} and {}", a.kind(), b.kind()),
                );
                let diagnostic = self.as_a_layer(op, (&a, left), (&b, right), at, diagnostic);
                self.report(diagnostic)
            }
        }
    }

    /// Arithmetic over sizes of which one has no number yet.
    fn of_sizes(&mut self, op: BinaryOp, sign: &str, a: &Size, b: &Size, at: Origin) -> Value {
        let result = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::Div => a.checked_div(b),
            BinaryOp::Pow | BinaryOp::Or => match b.number() {
                Some(power @ 1..=8) => (1..power).try_fold(a.clone(), |product, _| product.checked_mul(a)),
                _ => Some(Size::argument(&format!("({a} {sign} {b})"))),
            },
        };
        match result {
            Some(size) => match Dim::from(size) {
                Dim::Known(n) => Value::int(n),
                open => Value::Dim(open),
            },
            None => self.report(Diagnostic::error(
                Code::Division,
                format!("{a} {sign} {b} is no size"),
                at,
                "comes to nothing",
            )),
        }
    }

    /// `0.1 * mse`, `cross_entropy + 0.5 * mse`.
    fn losses(&mut self, op: BinaryOp, a: Value, b: Value, left: &Expr, right: &Expr, at: Origin) -> Value {
        let left_at = Origin { file: at.file, span: left.span };
        let right_at = Origin { file: at.file, span: right.span };
        let (Some(a), Some(b)) = (self.settled(a, left_at), self.settled(b, right_at)) else { return Value::Error };
        let of_loss = |value: &Config| match value {
            Config::Call(call) => call.kind == "loss",
            Config::Sum(_) | Config::Scaled(..) => true,
            _ => false,
        };
        match (op, a, b) {
            (BinaryOp::Mul, factor @ (Config::Int(_) | Config::Float(_)), loss)
            | (BinaryOp::Mul, loss, factor @ (Config::Int(_) | Config::Float(_)))
                if of_loss(&loss) =>
            {
                Value::Config(Config::Scaled(factor.float().unwrap_or(f64::NAN), Box::new(loss)))
            }
            (BinaryOp::Mul, Config::Unknown(_), loss) | (BinaryOp::Mul, loss, Config::Unknown(_)) if of_loss(&loss) => {
                Value::Config(loss)
            }
            (BinaryOp::Add, a, b) if of_loss(&a) && of_loss(&b) => {
                let mut parts = match a {
                    Config::Sum(parts) => parts,
                    one => vec![one],
                };
                parts.push(b);
                Value::Config(Config::Sum(parts))
            }
            (_, a, b) => self.report(
                Diagnostic::error(
                    Code::WrongType,
                    "losses are added to each other, or taken times a number",
                    at,
                    format!("these are {} and {}", a.kind(), b.kind()),
                )
                .help("for example `cross_entropy + 0.1 * mse`"),
            ),
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
                    let named = |expr: &Expr| match &expr.kind {
                        ExprKind::Name(name) => Some(name.clone()),
                        _ => None,
                    };
                    let about = named(right).or_else(|| named(left));
                    return self.report_about(about.as_deref(), diagnostic);
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

/// A number, or what may turn out to be one.
fn is_number(value: &Value) -> bool {
    is_open(value) || matches!(value, Value::Config(Config::Int(_) | Config::Float(_) | Config::Unknown(_)))
}

fn is_open(value: &Value) -> bool {
    matches!(value, Value::Dim(_) | Value::Param(_))
}

fn size(value: &Value) -> Option<Size> {
    match value {
        Value::Config(Config::Int(n)) => Some(Size::from(&Dim::Known(*n))),
        Value::Dim(dim) => Some(Size::from(dim)),
        Value::Param(size) => Some(size.clone()),
        _ => None,
    }
}

fn is_loss(value: &Value) -> bool {
    match value {
        Value::Definition(definition) => definition.sort() == "loss",
        Value::Config(Config::Call(call)) => call.kind == "loss",
        Value::Config(Config::Sum(_) | Config::Scaled(..)) => true,
        _ => false,
    }
}

/// The divisors of `a` next below and next above `b`.
fn near_divisors(a: i64, b: i64) -> Vec<i64> {
    let below = (1..b.min(10_000)).rev().find(|d| a % d == 0);
    let above = (b.saturating_add(1)..=a.min(b.saturating_add(10_000))).find(|d| a % d == 0);
    below.into_iter().chain(above).collect()
}
