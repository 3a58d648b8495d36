//! Shapes against signatures: `[.., in]` against `[197, 384]`.

use lmv_grammar::ast::{BinaryOp, DimExpr, Expr, ExprKind, Type, TypeKind};

use super::{Elaborator, Place};
use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::graph::Stream;
use crate::shape::{Dim, Shape};
use crate::size::Size;
use crate::source::Origin;
use crate::value::{Env, EnvRef, Value};

/// What a signature's names turned out to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// Dims by name.
    pub dims: Vec<(String, Dim)>,
    /// What `..` stands for.
    pub rest: Option<Vec<Dim>>,
}

impl Bindings {
    fn has(&self, name: &str) -> bool {
        self.dims.iter().any(|(known, _)| known == name)
    }
}

/// How much of a signature was known before a stream was held against it: so many of its dims, and what `..` is.
#[derive(Clone, Copy, Default)]
struct Told {
    dims: usize,
    rest: bool,
}

/// How a shape and a pattern disagree.
pub(crate) struct Mismatch {
    /// The pattern with what is known of it: `[tokens, 2048]`.
    pub expected: String,
    /// Facts in words.
    pub notes: Vec<String>,
    /// For a disagreement in the last dim alone: what it should have been.
    pub last: Option<i64>,
    /// Whether names of the signature were left without a dim, so that its output cannot be told.
    pub unbound: bool,
    /// What to do, where that is evident.
    pub help: Option<String>,
    /// For a disagreement in one dim alone that a name stands for: the name, and what it would have to be.
    pub named: Option<(String, i64)>,
}

/// A type that is one tensor: its dims, and of how many classes it holds numbers.
#[derive(Clone, Copy)]
pub(super) struct Tensor<'t> {
    dims: &'t [DimExpr],
    classes: Option<&'t Expr>,
}

/// The tensor that a type is; a label, `class(n)`, has no dims. `None` for tuples, records and types of other names.
pub(super) fn tensor(ty: &Type) -> Option<Tensor<'_>> {
    match &ty.kind {
        TypeKind::Shape(dims) => Some(Tensor { dims, classes: None }),
        TypeKind::Of { dims, element } => Some(Tensor { dims, classes: Some(class_count(element)?) }),
        TypeKind::Named(..) => Some(Tensor { dims: &[], classes: Some(class_count(ty)?) }),
        TypeKind::Tuple(_) | TypeKind::Record(_) => None,
    }
}

impl Mismatch {
    /// A stream of another number of dims than the `takes` (or, with `least`, at least as many) of `expected`.
    fn of_dims(expected: String, least: &str, takes: usize, found: usize) -> Self {
        let plural = if takes == 1 { "" } else { "s" };
        let note = format!("it takes {least}{takes} dim{plural} per sample, and the stream has {found}");
        Self { expected, notes: vec![note], last: None, unbound: true, help: None, named: None }
    }
}

/// The `n` of `class(n)`.
fn class_count(ty: &Type) -> Option<&Expr> {
    match &ty.kind {
        TypeKind::Named(name, sizes) if name.text == "class" => sizes.first(),
        _ => None,
    }
}

impl Elaborator<'_> {
    /// Matches a stream against the type of one tensor. `None` is a mistake that was reported.
    pub(crate) fn match_tensor(
        &mut self,
        ty: &Type,
        stream: &Stream,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> Option<Result<(), Mismatch>> {
        let Some(pattern) = tensor(ty) else { return Some(Ok(())) };
        if let Err(mut mismatch) = self.match_shape(pattern.dims, &stream.shape, bindings, env)? {
            if let Some(classes) = pattern.classes {
                mismatch.expected = format!(
                    "{} of class({})",
                    mismatch.expected,
                    self.sources.text(Origin { file: env.file, span: classes.span })
                );
            }
            return Some(Err(mismatch));
        }
        if pattern.classes.is_none() && stream.classes.is_none() {
            return Some(Ok(()));
        }
        let mut expected = self.describe(pattern.dims, bindings, Told::default(), env)?;
        let (note, help) = match (pattern.classes, &stream.classes) {
            (None, None) => return Some(Ok(())),
            (Some(wanted), Some(found)) => {
                let wanted = DimExpr::Expr(wanted.clone());
                match self.dim_or_free(&wanted, bindings, env)? {
                    Err(free) => {
                        bindings.dims.push((free, found.clone()));
                        return Some(Ok(()));
                    }
                    Ok(wanted) if wanted.fits(found) => return Some(Ok(())),
                    Ok(wanted) => {
                        expected = format!("{expected} of class({wanted})");
                        (format!("it takes numbers of {wanted} classes, and the stream holds numbers of {found}"), None)
                    }
                }
            }
            (Some(_), None) => {
                expected = format!("{expected} of class(…)");
                ("it takes class numbers, such as token ids, and the stream holds measured ones".to_owned(), None)
            }
            (None, Some(found)) => {
                let help = format!("`embedding({found}, WIDTH)` makes a vector of each number");
                (format!("the stream holds numbers of {found} classes, which are names and not quantities"), Some(help))
            }
        };
        Some(Err(Mismatch { expected, notes: vec![note], last: None, unbound: false, help, named: None }))
    }

    /// Matches like [`Self::match_tensor`] where `..` stands for as many dims as `rest` has: another number of dims is told
    /// before any of them is looked at.
    pub(crate) fn match_tensor_beside(
        &mut self,
        ty: &Type,
        rest: &[Dim],
        stream: &Stream,
        bindings: &mut Bindings,
        env: &EnvRef,
    ) -> Option<Result<(), Mismatch>> {
        let dims = tensor(ty).map(|pattern| pattern.dims).unwrap_or_default();
        let takes = rest.len() + dims.len().saturating_sub(1);
        if dims.iter().any(|dim| matches!(dim, DimExpr::Rest(_))) && takes != stream.shape.0.len() {
            let bound = Bindings { rest: Some(rest.to_vec()), ..Bindings::default() };
            let expected = self.describe(dims, &bound, Told { dims: 0, rest: true }, env)?;
            return Some(Err(Mismatch::of_dims(expected, "", takes, stream.shape.0.len())));
        }
        self.match_tensor(ty, stream, bindings, env)
    }

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
        // What other streams have told before: messages say it, and leave the rest its names.
        let told = Told { dims: bindings.dims.len(), rest: bindings.rest.is_some() };
        let dims = &shape.0;
        if dims.len() < fixed || (!has_rest && dims.len() != fixed) {
            let expected = self.describe(pattern, bindings, told, env)?;
            let least = if has_rest { "at least " } else { "" };
            return Some(Err(Mismatch::of_dims(expected, least, fixed, dims.len())));
        }
        let mut wrong = Vec::new();
        let (mut last, mut named) = (None, None);
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
            if let Some((free, op, other)) = self.free_in(dim, bindings, env) {
                let Some(known) = self.dim_or_free(&DimExpr::Expr(other), bindings, env)?.ok() else { continue };
                match solved(op, found, &known) {
                    Some(solution) => bindings.dims.push((free, solution)),
                    None => {
                        wrong.push(format!("where the stream has {found}, it takes {}", written(dim)));
                        bindings.dims.push((free.clone(), Dim::named(&free)));
                    }
                }
                continue;
            }
            let expected = match self.dim_or_free(dim, bindings, env)? {
                Ok(expected) => expected,
                Err(free) => {
                    bindings.dims.push((free, found.clone()));
                    continue;
                }
            };
            if !expected.fits(found) {
                let fact = format!("where the stream has {found}, it takes {}", said(dim, &expected));
                if !wrong.contains(&fact) {
                    wrong.push(fact);
                }
                if index + 1 == pattern.len() {
                    last = expected.known();
                }
                named = match dim {
                    DimExpr::Expr(Expr { kind: ExprKind::Name(name), .. }) => found.known().map(|n| (name.clone(), n)),
                    _ => None,
                };
            }
        }
        if wrong.is_empty() {
            return Some(Ok(()));
        }
        let only_last = wrong.len() == 1;
        let expected = self.describe(pattern, bindings, told, env)?;
        Some(Err(Mismatch {
            expected,
            notes: wrong,
            last: last.filter(|_| only_last),
            unbound: false,
            help: None,
            named: named.filter(|_| only_last),
        }))
    }

    /// What the type of one tensor stands for once its names are bound. `None` is a mistake that was reported.
    pub(super) fn tensor_of(
        &mut self,
        tensor: &Tensor<'_>,
        bindings: &Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> Option<(Shape, Option<Dim>)> {
        let shape = self.shape_of(tensor.dims, bindings, env, at)?;
        let Some(classes) = tensor.classes else { return Some((shape, None)) };
        let classes = match self.dim_or_free(&DimExpr::Expr(classes.clone()), bindings, env)? {
            Ok(Dim::Known(n)) if n < 1 || n < 2 && tensor.dims.is_empty() => {
                self.report(
                    Diagnostic::error(
                        Code::OutOfRange,
                        "a label with fewer than two classes",
                        at,
                        format!("{n} would leave nothing to tell apart"),
                    )
                    .note("a label is one of at least two classes"),
                );
                return None;
            }
            Ok(classes) => classes,
            Err(free) => Dim::named(&free),
        };
        Some((shape, Some(classes)))
    }

    /// The shape that a pattern stands for once its names are bound. `None` is a mistake that was reported.
    fn shape_of(&mut self, pattern: &[DimExpr], bindings: &Bindings, env: &EnvRef, at: Origin) -> Option<Shape> {
        let mut dims = Vec::new();
        for dim in pattern {
            match dim {
                DimExpr::Rest(_) => match &bindings.rest {
                    Some(rest) => dims.extend(rest.clone()),
                    None => {
                        if self.symbolic {
                            return None;
                        }
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
                    let found = match self.dim_or_free(dim, bindings, env)? {
                        Ok(found) => found,
                        Err(free) if matches!(dim, DimExpr::Varying(_)) => Dim::varying(&free),
                        Err(free) => Dim::named(&free),
                    };
                    if let Dim::Known(n) = found
                        && n <= 0
                    {
                        let about = match dim {
                            DimExpr::Expr(Expr { kind: ExprKind::Name(name), .. }) => Some(name.as_str()),
                            _ => None,
                        };
                        let diagnostic = Diagnostic::error(
                            Code::Dim,
                            format!("a dim of {n} is no dim"),
                            at,
                            format!("would be {n} wide"),
                        )
                        .note("every dim is at least 1");
                        self.report_about(about, diagnostic);
                        return None;
                    }
                    dims.push(found);
                }
            }
        }
        Some(Shape(dims))
    }

    /// The same for what a layer gives: a length that only the layer tells is one of its own.
    pub(super) fn given_tensor(
        &mut self,
        tensor: &Tensor<'_>,
        bindings: &Bindings,
        env: &EnvRef,
        at: Origin,
    ) -> Option<(Shape, Option<Dim>)> {
        let mut with_lengths = bindings.clone();
        for dim in tensor.dims {
            if let DimExpr::Varying(name) = dim
                && !bindings.has(&name.text)
            {
                with_lengths.dims.push((name.text.clone(), self.fresh_length(&name.text)));
            }
        }
        self.tensor_of(tensor, &with_lengths, env, at)
    }

    /// A type that stands by itself, as in `model(x : [T?, 64])`. `None` is a mistake that was reported, or a type that
    /// is no tensor.
    pub(crate) fn standing(&mut self, ty: &Type, env: &EnvRef, at: Origin) -> Option<Stream> {
        let (shape, classes) = self.tensor_of(&tensor(ty)?, &Bindings::default(), env, at)?;
        Some(Stream { shape, classes })
    }

    /// A dim with one free name in it, `T + 1` or `2 * T`: the name, the operation, and what stands on the other side.
    fn free_in(&self, dim: &DimExpr, bindings: &Bindings, env: &EnvRef) -> Option<(String, BinaryOp, Expr)> {
        let DimExpr::Expr(Expr { kind: ExprKind::Binary(op, a, b), .. }) = dim else { return None };
        let free = |expr: &Expr| match &expr.kind {
            ExprKind::Name(name) if env.get(name).is_none() && !bindings.has(name) => Some(name.clone()),
            _ => None,
        };
        let closed = |expr: &Expr| names_in(expr).into_iter().all(|name| env.get(name).is_some() || bindings.has(name));
        match (op, free(a), free(b)) {
            (_, Some(name), _) if closed(b) => Some((name, *op, (**b).clone())),
            (BinaryOp::Add | BinaryOp::Mul, _, Some(name)) if closed(a) => Some((name, *op, (**a).clone())),
            _ => None,
        }
    }

    /// A pattern for messages: names that are read off the stream stay names.
    fn describe(&mut self, pattern: &[DimExpr], bindings: &Bindings, told: Told, env: &EnvRef) -> Option<String> {
        let mut parts = Vec::new();
        for dim in pattern {
            if let (DimExpr::Rest(_), true, Some(rest)) = (dim, told.rest, &bindings.rest) {
                parts.extend(rest.iter().map(Dim::to_string));
                continue;
            }
            if let DimExpr::Expr(Expr { kind: ExprKind::Name(name), .. }) = dim
                && let Some((_, known)) = bindings.dims[..told.dims].iter().find(|(known, _)| known == name)
            {
                parts.push(known.to_string());
                continue;
            }
            let free = |name: &str| env.get(name).is_none();
            parts.push(match dim {
                DimExpr::Expr(Expr { kind: ExprKind::Name(name), .. }) if free(name) => {
                    if name == "T" {
                        "tokens".to_owned()
                    } else {
                        name.clone()
                    }
                }
                DimExpr::Expr(expr) if names_in(expr).into_iter().all(|name| !free(name) || bindings.has(name)) => {
                    match self.dim_or_free(dim, bindings, env)? {
                        Ok(dim) => dim.to_string(),
                        Err(free) => free,
                    }
                }
                dim => written(dim),
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
            Value::Param(size) => Some(Ok(Dim::Open(size))),
            Value::Config(Config::Unknown(name)) => Some(Ok(Dim::named(&name))),
            Value::Error => None,
            other => {
                let at = Origin { file: env.file, span: expr.span };
                let message = match &expr.kind {
                    ExprKind::Name(name) => format!("`{name}` is a dim, and a dim is a whole number"),
                    _ => "a dim is a whole number".to_owned(),
                };
                let (what, note) = match &other {
                    Value::Config(Config::Float(x)) => {
                        let note = "a number with a point stays one in arithmetic: write `4`, not `4.0`";
                        (format!("{x:?} is no whole number"), (x.fract() == 0.0).then_some(note))
                    }
                    Value::Config(value @ Config::Str(_)) => (format!("{value} is {}", other.kind()), None),
                    _ => (format!("this is {}", other.kind()), None),
                };
                let diagnostic = Diagnostic::error(Code::WrongType, message, at, what);
                self.report(note.into_iter().fold(diagnostic, Diagnostic::help));
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

/// What x is where `x op known` is `found`.
fn solved(op: BinaryOp, found: &Dim, known: &Dim) -> Option<Dim> {
    let (found, known) = (Size::from(found), Size::from(known));
    let solution = match op {
        BinaryOp::Add => found.checked_sub(&known),
        BinaryOp::Sub => found.checked_add(&known),
        BinaryOp::Mul => found.checked_div(&known),
        BinaryOp::Div => found.checked_mul(&known),
        BinaryOp::Pow | BinaryOp::Or => None,
    };
    solution.map(Dim::from).filter(|dim| dim.known().is_none_or(|n| n >= 1))
}

/// The names in arithmetic over dims.
fn names_in(expr: &Expr) -> Vec<&str> {
    match &expr.kind {
        ExprKind::Name(name) => vec![name],
        ExprKind::Binary(_, a, b) => [names_in(a), names_in(b)].concat(),
        ExprKind::Negate(a) => names_in(a),
        ExprKind::Call(_, args) => args.iter().flat_map(|arg| names_in(&arg.value)).collect(),
        _ => Vec::new(),
    }
}

/// A dim as the declaration has it, near enough: `T + 1`.
fn written(dim: &DimExpr) -> String {
    fn of(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Name(name) => name.clone(),
            ExprKind::Int(n) => n.to_string(),
            ExprKind::Binary(op, a, b) => {
                format!("{} {} {}", of(a), op.sign(), of(b))
            }
            _ => "…".to_owned(),
        }
    }
    match dim {
        DimExpr::Rest(_) => "..".to_owned(),
        DimExpr::Varying(name) => format!("{}?", name.text),
        DimExpr::Expr(expr) => of(expr),
    }
}

fn said(dim: &DimExpr, value: &Dim) -> String {
    match dim {
        DimExpr::Expr(expr) => match &expr.kind {
            ExprKind::Name(name) if *name != value.to_string() => format!("`{name}`, which is {value}"),
            _ => value.to_string(),
        },
        _ => value.to_string(),
    }
}
