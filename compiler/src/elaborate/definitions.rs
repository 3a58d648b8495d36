//! Definitions checked by themselves, before anybody uses them: the body of a layer is run once with its parameters and
//! the dims of its signature as names. What cannot be right for any argument is reported there; what depends on the
//! arguments is left to each use.

use std::collections::HashSet;
use std::rc::Rc;

use lmv_grammar::ast::{DimExpr, ExprKind, ItemKind, Signature, Type, TypeKind};

use super::binding::names;
use super::matching::Bindings;
use super::signature::Use;
use super::{Elaborator, Fill, Marks, Place};
use crate::diagnostic::Diagnostic;
use crate::samples;
use crate::shape::Dim;
use crate::size::Size;
use crate::source::Origin;
use crate::value::{Bound, Definition, Env, EnvRef, Made, Scope, Value};

/// What `..` may stand for: a body is wrong only if it is wrong for all of these.
const RESTS: [&[&str]; 3] = [&["n"], &[], &["n", "m"]];

impl Elaborator<'_> {
    /// Checks a definition whatever its arguments are: the body of a layer against its signature, and what is written in
    /// the others.
    pub(crate) fn check_definition(&mut self, definition: &Rc<Definition>) {
        let signature = match definition.kind() {
            ItemKind::Define { signature, .. } => signature,
            ItemKind::Extern { signature, .. } if definition.body().is_some() => signature,
            ItemKind::Let { params: Some(_), .. } | ItemKind::Recipe { .. } => &None,
            _ => return,
        };
        if self.stopped {
            return;
        }
        let graph = std::mem::take(&mut self.graph);
        let marks = std::mem::replace(&mut self.marks, Marks { fill: Some(Fill::Random), ..Marks::default() });
        let data = self.data.take();
        self.symbolic = true;
        let any_rest = signature.as_ref().and_then(|s| s.input.as_ref()).is_some_and(has_rest);
        let before = self.diagnostics.len();
        let known = self.reported.clone();
        let mut found: Option<(Vec<Diagnostic>, HashSet<_>)> = None;
        for rest in RESTS.iter().take(if any_rest { RESTS.len() } else { 1 }) {
            self.reported = known.clone();
            self.run_definition(definition, signature.as_ref(), rest);
            self.graph = Default::default();
            let now = self.diagnostics.split_off(before.min(self.diagnostics.len()));
            if now.is_empty() {
                found = None;
                break;
            }
            let reported = std::mem::take(&mut self.reported);
            found.get_or_insert((now, reported));
        }
        let (diagnostics, reported) = found.unwrap_or((Vec::new(), known));
        self.diagnostics.extend(diagnostics);
        self.reported = reported;
        self.symbolic = false;
        self.data = data;
        self.marks = marks;
        self.graph = graph;
    }

    fn run_definition(&mut self, definition: &Rc<Definition>, signature: Option<&Signature>, rest: &[&str]) {
        let params = definition.params();
        let at = definition.origin();
        let top = Env::top(definition.file);
        let mut bound: Vec<Bound> = Vec::new();
        for param in params {
            let name = &param.name.text;
            if let Some(default) = &param.default {
                let place = Place { env: Env::within(&top, names(&bound)), scope: Scope::root() };
                self.eval(default, &place);
            }
            let is_dim = signature.is_some_and(|signature| stands_alone(signature, name));
            let size = if is_dim { Size::named(name) } else { Size::argument(name) };
            bound.push(Bound { name: name.clone(), value: Value::Param(size), written: None });
        }
        let env = Env::within(&top, names(&bound));
        let scope = Scope::root();
        let (Some(signature), Some(body)) = (signature, definition.body()) else {
            // Nothing says what flows in: what is written is looked at, and not run.
            self.framed(&definition.name, at, |this| this.look_at(definition, &Place { env, scope }));
            return;
        };
        let mut bindings =
            Bindings { dims: Vec::new(), rest: Some(rest.iter().map(|name| Dim::named(name)).collect()) };
        let made = Rc::new(Made { origin: at, width: None, input: true });
        let input = match &signature.input {
            None => Value::Error,
            Some(pattern) => {
                self.free_names(pattern, &env, &mut bindings);
                match self.outputs(pattern, &bindings, &env, at, &made) {
                    Some((input, _)) => input,
                    None => return,
                }
            }
        };
        let dims = bindings.dims.iter().map(|(name, dim)| (name.clone(), super::matching::as_value(dim))).collect();
        let env = Env::within(&Env::within(&env, dims), vec![("input".to_owned(), input.clone())]);
        let output = self
            .framed(&definition.name, at, |this| this.body(body, input, env.clone(), &scope))
            .unwrap_or(Value::Error);
        if !matches!(output, Value::Error) {
            let layer = Use { definition, bound: &bound, at };
            self.check_output(&layer, &signature.output, &output, &mut bindings, &env);
        }
    }

    fn look_at(&mut self, definition: &Definition, place: &Place) {
        match definition.kind() {
            ItemKind::Define { body, .. } => {
                self.block(body, place);
            }
            ItemKind::Let { value, .. } => {
                self.eval(value, place);
            }
            ItemKind::Recipe { fields, .. } => {
                for (name, value) in fields {
                    let at = Origin { file: place.env.file, span: value.span };
                    let value = self.eval(value, place);
                    if let (Value::List(_), "augment" | "eval_augment") = (&value, name.text.as_str()) {
                        let places = samples::places(&value, at);
                        let settled = self.quietly(|this| this.settled(value, at));
                        settled.iter().for_each(|list| {
                            self.check_steps(list, &places);
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Names that a signature reads off the stream stand for themselves.
    fn free_names(&mut self, ty: &Type, env: &EnvRef, bindings: &mut Bindings) {
        match &ty.kind {
            TypeKind::Tuple(items) => items.iter().for_each(|item| self.free_names(item, env, bindings)),
            TypeKind::Record(fields) => fields.iter().for_each(|(_, ty)| self.free_names(ty, env, bindings)),
            TypeKind::Shape(dims) | TypeKind::Of { dims, .. } => {
                for dim in dims {
                    let (name, dim) = match dim {
                        DimExpr::Varying(name) => (&name.text, Dim::varying(&name.text)),
                        DimExpr::Expr(expr) => match names_in(&expr.kind) {
                            Some(name) => (name, Dim::named(name)),
                            None => continue,
                        },
                        DimExpr::Rest(_) => continue,
                    };
                    if env.get(name).is_none() && !bindings.dims.iter().any(|(known, _)| known == name) {
                        bindings.dims.push((name.clone(), dim));
                    }
                }
            }
            TypeKind::Named(..) => {}
        }
    }
}

/// The name that a dim is, or the one that it begins with.
fn names_in(kind: &ExprKind) -> Option<&String> {
    match kind {
        ExprKind::Name(name) => Some(name),
        ExprKind::Binary(_, a, b) => names_in(&a.kind).or_else(|| names_in(&b.kind)),
        _ => None,
    }
}

fn tensors<'t>(ty: &'t Type, found: &mut Vec<&'t [DimExpr]>) {
    match &ty.kind {
        TypeKind::Tuple(items) => items.iter().for_each(|item| tensors(item, found)),
        TypeKind::Record(fields) => fields.iter().for_each(|(_, ty)| tensors(ty, found)),
        TypeKind::Shape(dims) | TypeKind::Of { dims, .. } => found.push(dims),
        TypeKind::Named(..) => {}
    }
}

fn has_rest(ty: &Type) -> bool {
    let mut found = Vec::new();
    tensors(ty, &mut found);
    found.iter().any(|dims| dims.iter().any(|dim| matches!(dim, DimExpr::Rest(_))))
}

/// Whether a parameter is a dim of the signature by itself, and so at least one.
fn stands_alone(signature: &Signature, name: &str) -> bool {
    let mut found = Vec::new();
    signature.input.iter().chain([&signature.output]).for_each(|ty| tensors(ty, &mut found));
    let alone =
        |dim: &DimExpr| matches!(dim, DimExpr::Expr(expr) if matches!(&expr.kind, ExprKind::Name(n) if n == name));
    found.iter().any(|dims| dims.iter().any(alone))
}
