//! The definitions that are being elaborated, one inside the other: the chain in messages, and the way back from a name
//! in the library to the argument that the user wrote.

use std::rc::Rc;

use lmv_grammar::ast::ExprKind;

use super::Elaborator;
use super::signature::Use;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::near::is_name;
use crate::source::Origin;
use crate::value::Definition;

/// Definitions nested deeper than this are taken for a recursion that does not end.
pub(super) const DEEPEST: usize = 96;

/// A definition being elaborated, and the place that called for it.
pub(super) struct Frame {
    pub name: String,
    pub called: Origin,
    /// What is being elaborated, where its arguments are known.
    definition: Option<Rc<Definition>>,
    /// The arguments that were written, by parameter.
    written: Vec<(String, Origin)>,
}

impl Elaborator<'_> {
    /// The argument of the user's that a mistake in the library comes from: the parameter that it was given to, and its
    /// place. The mistake is about `about`, or about the name that stands at `primary`; `outside` is the frame that the
    /// user's file called for.
    pub(super) fn argument_behind(
        &self,
        about: Option<&str>,
        primary: Origin,
        outside: usize,
    ) -> Option<(String, Origin)> {
        let mut name = about.unwrap_or_else(|| self.sources.text(primary)).to_owned();
        let mut place = primary;
        for frame in self.frames.get(outside..)?.iter().rev() {
            // A layer that was handed over, as in `residual(f)`, has its arguments from further out.
            let Some(definition) = frame.definition.as_ref().filter(|definition| is_in(definition, place)) else {
                continue;
            };
            // A parameter that was left out may be another one: `kv_heads = heads`.
            while !frame.written.iter().any(|(param, _)| *param == name) {
                let param = definition.params().iter().find(|param| param.name.text == name)?;
                match &param.default.as_ref()?.kind {
                    ExprKind::Name(other) if *other != name => name = other.clone(),
                    _ => return None,
                }
            }
            let (param, written) = frame.written.iter().find(|(param, _)| *param == name)?;
            if !self.sources.get(written.file).library {
                return Some((param.clone(), *written));
            }
            let text = self.sources.text(*written);
            name = is_name(text).then(|| text.to_owned())?;
            place = *written;
        }
        None
    }

    /// Runs `body` inside the definition `name` that was called at `called`.
    pub(crate) fn framed<T>(&mut self, name: &str, called: Origin, body: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.within(Frame { name: name.to_owned(), called, definition: None, written: Vec::new() }, body)
    }

    /// The same with the arguments that the definition was given.
    pub(super) fn framed_use<T>(&mut self, layer: &Use<'_>, body: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let written = layer.bound.iter().filter_map(|bound| Some((bound.name.clone(), bound.written?))).collect();
        let definition = Some(layer.definition.clone());
        self.within(Frame { name: layer.definition.name.clone(), called: layer.at, definition, written }, body)
    }

    fn within<T>(&mut self, frame: Frame, body: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.stopped {
            return None;
        }
        if self.depth >= DEEPEST {
            let (name, called) = (frame.name.as_str(), frame.called);
            // What stands here need not be what goes round: `linear` in a layer that calls itself does not.
            let count = |name: &str| self.frames.iter().filter(|frame| frame.name == name).count();
            let round = self
                .frames
                .iter()
                .rev()
                .find(|frame| count(&frame.name) > 1 && !self.sources.get(frame.called.file).library);
            let round = round.map(|frame| (frame.name.as_str(), frame.called));
            let of_a_name = count(name) > 0;
            let diagnostic = match round.or(of_a_name.then_some((name, called))) {
                Some((name, called)) => Diagnostic::error(
                    Code::Recursion,
                    format!("`{name}` never comes to an end"),
                    called,
                    "this leads back to itself",
                )
                .help("a model has a size that stands in the file; `repeat(12) { … }` makes twelve layers, one after the other"),
                None => Diagnostic::error(
                    Code::TooLarge,
                    format!("`{name}` is one definition too many inside the others"),
                    called,
                    format!("{DEEPEST} definitions lead here, each inside the one before"),
                )
                .help("let fewer definitions stand on one another: give numbers where they are known"),
            };
            self.stop(diagnostic);
            return None;
        }
        self.depth += 1;
        self.most_depth = self.most_depth.max(self.depth);
        self.frames.push(frame);
        let value = body(self);
        self.frames.pop();
        self.depth -= 1;
        Some(value)
    }
}

/// Whether a place lies in a definition.
fn is_in(definition: &Definition, at: Origin) -> bool {
    let whole = definition.tree.items.get(definition.item).map(|item| item.span);
    definition.file == at.file && whole.is_some_and(|whole| whole.start <= at.span.start && at.span.end <= whole.end)
}
