//! What kind of thing is wanted where a name stands, so that a name that is not known is told of names that would do:
//! a layer in a pipe, a metric in `eval`.

use lmv_grammar::ast::{Expr, ExprKind, Span};

use super::{Elaborator, Place};
use crate::modules::Found;
use crate::source::{FileId, Origin};

/// Names that the language itself gives a meaning.
const LAYER_WORDS: [&str; 5] = ["frozen", "trainable", "random", "pretrained", "shared"];
const NUMBER_WORDS: [&str; 3] = ["max", "min", "data"];

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A step of a pipe.
    Layer,
    /// A part of the library by its sort: `metric`, `dataset`, `recipe`, …
    Part(&'static str),
    /// A number.
    Number,
    /// A text in quotes.
    Text,
    /// The name of a place: `path("imagenet")`.
    Path,
    /// What an argument can be of which nothing is said, not even by a default: a text, a number, a part of the library.
    Anything,
    /// What an argument can be that says nothing of itself.
    Argument,
}

/// What is wanted of the name at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    kind: Kind,
    at: Origin,
}

/// The name that says what an expression is: `linear` of `linear(3, 4) as fc`.
fn head(expr: &Expr) -> Span {
    match &expr.kind {
        ExprKind::Call(of, _) | ExprKind::With(of, _) | ExprKind::As(of, _) => head(of),
        _ => expr.span,
    }
}

impl Kind {
    /// How to find one, in words.
    pub(super) fn where_to_find(self) -> String {
        match self {
            Kind::Layer => {
                "`lmvc explain` lists what the library has; a layer of your own is `layer NAME(SIZES) { … }`".to_owned()
            }
            Kind::Part(sort) => {
                let mut names = crate::library::definition_names(sort);
                // What is seen without a `use` first.
                names.sort_by_key(|name| name.contains('.'));
                let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
                let more = if names.len() > 8 { ", …" } else { "" };
                format!("the library has `{}`{more}", shown.join("`, `"))
            }
            Kind::Number => "a number of your own has its name by `let NAME = …`, or is a parameter".to_owned(),
            Kind::Text | Kind::Path => "a text stands in quotes".to_owned(),
            Kind::Anything | Kind::Argument => "a value of your own has its name by `let NAME = …`".to_owned(),
        }
    }
}

impl Elaborator<'_> {
    /// Says what the value of `expr`, which is looked at next, is wanted for.
    pub(crate) fn want(&mut self, kind: Kind, expr: &Expr, file: FileId) {
        self.wanted = Some(Wanted { kind, at: Origin { file, span: head(expr) } });
    }

    /// What is wanted at a place, if something was said of it.
    pub(super) fn wanted_at(&self, at: Origin) -> Option<Kind> {
        self.wanted.filter(|wanted| wanted.at == at).map(|wanted| wanted.kind)
    }

    /// Every name that is seen at a place, sorted.
    pub(super) fn names_in_reach(&self, place: &Place, file: FileId) -> Vec<String> {
        let mut known: Vec<String> = self.modules.names(file);
        known.extend(place.env.all_names().into_iter().map(str::to_owned));
        known.extend(LAYER_WORDS.iter().chain(&NUMBER_WORDS).chain(&["path", "when"]).map(|word| (*word).to_owned()));
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Whether a name can be what is wanted, as far as its definition tells. Parameters and inputs may be anything.
    pub(super) fn fits(&self, file: FileId, name: &str, kind: Kind) -> bool {
        match self.modules.find(file, name) {
            Found::One(definition) => of_kind(definition.sort(), kind),
            Found::Nothing if LAYER_WORDS.contains(&name) => matches!(kind, Kind::Layer | Kind::Argument),
            Found::Nothing if NUMBER_WORDS.contains(&name) => matches!(kind, Kind::Number | Kind::Argument),
            Found::Nothing if name == "path" => kind == Kind::Argument,
            Found::Nothing | Found::Two(..) => true,
            Found::Missing => false,
        }
    }

    /// The same for a name of the prelude.
    pub(super) fn fits_in_prelude(&self, name: &str, kind: Kind) -> bool {
        let Some((module, there)) = crate::library::prelude().get(name) else { return false };
        self.modules.own(FileId(*module), there).is_some_and(|definition| of_kind(definition.sort(), kind))
    }
}

fn of_kind(sort: &str, kind: Kind) -> bool {
    // What a `let` gives is not known before it is looked at.
    sort == "let"
        || match kind {
            Kind::Layer => matches!(sort, "layer" | "llm"),
            Kind::Part(wanted) => crate::library::is_a(sort, wanted),
            Kind::Number | Kind::Text | Kind::Path => false,
            Kind::Anything => true,
            Kind::Argument => matches!(sort, "layer" | "llm" | "init" | "group" | "scale"),
        }
}
