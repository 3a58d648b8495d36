//! A name that two things have, and which of them is meant.

use lmv_grammar::ast::Span;

use super::Elaborator;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::library;
use crate::source::Origin;

impl Elaborator<'_> {
    /// Warns of a name that is seen without a `use`, where the file imports other names from a file or a module that has
    /// one of that name as well.
    pub(super) fn warn_of_another(&mut self, name: &str, at: Origin) {
        let Some((module, there)) = self.modules.by_the_prelude(at.file, name) else { return };
        let Some(beside) = self.modules.not_taken_along(at.file, name, module) else { return };
        let from = match library::module_of(beside.file) {
            Some(module) => module.path.clone(),
            None => {
                let (own, other) = (&self.sources.get(at.file).name, &self.sources.get(beside.file).name);
                format!("\"{}\"", files::between(own, other))
            }
        };
        let Some(seen) = library::module_of(module).map(|module| module.path.as_str()) else { return };
        let named = if there == name { name.to_owned() } else { format!("{there} as {name}") };
        let first = Origin { span: Span::new(beside.at.span.start, beside.at.span.start), ..beside.at };
        self.report(
            Diagnostic::warning(
                Code::OtherName,
                format!("there are two `{name}`: this is that of `{seen}`, and `{from}` has one, too"),
                at,
                format!("means that of `{seen}`, which is seen without a `use`"),
            )
            .also(beside.at, format!("imported from `{from}`, without its `{name}`"))
            .replace(format!("if that of `{from}` is meant, import it"), first, format!("{name}, "))
            .help(format!("if this one is meant, say so: `use {seen} {{ {named} }}`")),
        );
    }
}
