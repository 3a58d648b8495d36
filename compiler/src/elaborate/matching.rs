//! Shapes against signatures: `[.., in]` against `[197, 384]`.

use lmv_grammar::ast::{DimExpr, ExprKind, Type};

use super::{Elaborator, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::shape::{Dim, Shape};
use crate::source::Origin;
use crate::value::{Env, EnvRef, Value};

/// What a signature's names turned out to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    /// Dims by name.
    pub dims: Vec<(String, Dim)>,
    /// What `..` stands for.
    pub rest: Option<Vec<Dim>>,
}

/// How a shape and a pattern disagree.
pub(super) struct Mismatch {
    /// The pattern with what is known of it: `[tokens, 2048]`.
    pub expected: String,
    /// Facts in words.
    pub notes: Vec<String>,
    /// For a disagreement in the last dim alone: what it should have been.
    pub last: Option<i64>,
}

impl Elaborator<'_> {
    /// Matches a shape against a pattern, binding the pattern's free names. `None` is a mistake that was reported.
    pub(super) fn match_shape(
        &mut self,
        pattern: &[DimExpr],
        shape: &Shape,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> Option<Result<(), Mismatch>> {
        let has_rest = pattern.iter().any(|dim| matches!(dim, DimExpr::Rest(_)));
        let fixed = pattern.len() - usize::from(has_rest);
        let dims = &shape.0;
        if dims.len() < fixed || (!has_rest && dims.len() != fixed) {
            let expected = self.describe(pattern, env)?;
            let plural = if fixed == 1 { "" } else { "s" };
            let least = if has_rest { "at least " } else { "" };
            let note = format!("it takes {least}{fixed} dim{plural} per sample, and the stream has {}", dims.len());
            return Some(Err(Mismatch { expected, notes: vec![note], last: None }));
        }
        let mut wrong = Vec::new();
        let mut last = None;
        let mut at = 0;
        for (index, dim) in pattern.iter().enumerate() {
            let found = match dim {
                DimExpr::Rest(_) => {
                    let count = dims.len() - fixed;
                    let found = dims[at..at + count].to_vec();
                    at += count;
                    match &bindings.rest {
                        None => bindings.rest = Some(found),
                        Some(rest) if *rest == found => {}
                        Some(rest) => wrong.push(format!(
                            "`..` is {} here and was {} in the stream before",
                            Shape(found),
                            Shape(rest.clone())
                        )),
                    }
                    continue;
                }
                _ => &dims[at],
            };
            at += 1;
            let expected = match self.dim_or_free(dim, bindings, env)? {
                Ok(expected) => expected,
                Err(free) => {
                    bindings.dims.push((free, found.clone()));
                    continue;
                }
            };
            if !agree(&expected, found) {
                let fact = format!("where the stream has {found}, it takes {}", said(dim, &expected));
                if !wrong.contains(&fact) {
                    wrong.push(fact);
                }
                if index + 1 == pattern.len() {
                    last = expected.known();
                }
            }
        }
        if wrong.is_empty() {
            return Some(Ok(()));
        }
        let only_last = wrong.len() == 1;
        let expected = self.describe(pattern, env)?;
        Some(Err(Mismatch { expected, notes: wrong, last: last.filter(|_| only_last) }))
    }

    /// The shape that a pattern stands for once its names are bound. `None` is a mistake that was reported.
    pub(super) fn shape_of(
        &mut self,
        pattern: &[DimExpr],
        bindings: &Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> Option<Shape> {
        let mut dims = Vec::new();
        for dim in pattern {
            match dim {
                DimExpr::Rest(_) => match &bindings.rest {
                    Some(rest) => dims.extend(rest.clone()),
                    None => {
                        self.report(
                            Diagnostic::error(
                                Code::UnknownInput,
                                "the shape of the input is not known here",
                                at,
                                "takes any number of dims",
                            )
                            .help("give the spec a `data = …`, or write the input out: `model(x : [3, 32, 32]) { x >> … }`"),
                        );
                        return None;
                    }
                },
                _ => {
                    let dim = match self.dim_or_free(dim, bindings, env)? {
                        Ok(dim) => dim,
                        Err(free) => Dim::Named { name: free, varying: matches!(dim, DimExpr::Varying(_)) },
                    };
                    if let Dim::Known(n) = dim
                        && n <= 0
                    {
                        self.report(
                            Diagnostic::error(
                                Code::Dim,
                                format!("a dim of {n} is no dim"),
                                at,
                                format!("would be {n} wide"),
                            )
                            .note("every dim is at least 1"),
                        );
                        return None;
                    }
                    dims.push(dim);
                }
            }
        }
        Some(Shape(dims))
    }

    /// The shape of a type that stands by itself, as in `model(x : [T?, 64])`.
    pub(crate) fn type_shape(&mut self, dims: &[DimExpr], env: &EnvRef, at: Origin) -> Option<Shape> {
        self.shape_of(dims, &Bindings::default(), env, at)
    }

    /// A pattern for messages: names that are read off the stream stay names.
    fn describe(&mut self, pattern: &[DimExpr], env: &EnvRef) -> Option<String> {
        let mut parts = Vec::new();
        for dim in pattern {
            parts.push(match dim {
                DimExpr::Rest(_) => "..".to_owned(),
                _ => match self.dim_or_free(dim, &Bindings::default(), env)? {
                    Ok(dim) => dim.to_string(),
                    Err(free) if free == "T" => "tokens".to_owned(),
                    Err(free) => free,
                },
            });
        }
        Some(format!("[{}]", parts.join(", ")))
    }

    /// A dim's value, or the free name that it is. `None` is a mistake that was reported.
    fn dim_or_free(&mut self, dim: &DimExpr, bindings: &Bindings, env: &EnvRef) -> Option<Result<Dim, String>> {
        let expr = match dim {
            DimExpr::Rest(_) => return Some(Err("..".to_owned())),
            DimExpr::Varying(name) => {
                let bound = bindings.dims.iter().find(|(n, _)| *n == name.text);
                return Some(bound.map_or_else(|| Err(name.text.clone()), |(_, dim)| Ok(dim.clone())));
            }
            DimExpr::Expr(expr) => expr,
        };
        if let ExprKind::Name(name) = &expr.kind {
            if let Some((_, dim)) = bindings.dims.iter().find(|(n, _)| n == name) {
                return Some(Ok(dim.clone()));
            }
            if env.get(name).is_none() {
                return Some(Err(name.clone()));
            }
        }
        let dims = bindings.dims.iter().map(|(name, dim)| (name.clone(), as_value(dim))).collect();
        let place = Place { env: Env::within(env, dims), scope: crate::value::Scope::root() };
        match self.eval(expr, &place) {
            Value::Config(Config::Int(n)) => Some(Ok(Dim::Known(n))),
            Value::Dim(dim) => Some(Ok(dim)),
            Value::Config(Config::Unknown(name)) => Some(Ok(Dim::Named { name, varying: false })),
            Value::Error => None,
            other => {
                let at = Origin { file: env.file, span: expr.span };
                self.report(Diagnostic::error(
                    Code::WrongType,
                    "a dim is a whole number",
                    at,
                    format!("this is {}", other.kind()),
                ));
                None
            }
        }
    }
}

/// A dim as a value that arithmetic takes.
pub(super) fn as_value(dim: &Dim) -> Value {
    match dim {
        Dim::Known(n) => Value::int(*n),
        named => Value::Dim(named.clone()),
    }
}

/// The dims of a type that is a shape.
pub(super) fn dims_of(ty: &Type) -> Option<&[DimExpr]> {
    ty.dims()
}

/// A size that only the data tells fits anything; it is checked when there is data.
fn agree(expected: &Dim, found: &Dim) -> bool {
    match (expected, found) {
        (Dim::Known(a), Dim::Known(b)) => a == b,
        (Dim::Named { varying: true, name: a }, Dim::Named { varying: true, name: b }) => a == b,
        (Dim::Named { varying: true, .. }, _) | (_, Dim::Named { varying: true, .. }) => false,
        _ => true,
    }
}

fn said(dim: &DimExpr, value: &Dim) -> String {
    match dim {
        DimExpr::Expr(expr) => match &expr.kind {
            ExprKind::Name(name) => format!("`{name}`, which is {value}"),
            _ => value.to_string(),
        },
        _ => value.to_string(),
    }
}
