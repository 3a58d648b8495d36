//! What is set from outside of a spec: `--set train.lr=1e-4`, and what lies beside weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use lmv_grammar::ast::{Expr, File, ItemKind};

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::library;
use crate::source::{FileId, Origin, Source, Sources};

/// A change to a setting from outside the file: `train.lr` and the expression it becomes.
pub(crate) struct Override {
    pub path: Vec<String>,
    pub expr: Expr,
    pub file: FileId,
    /// Whether it begins with the name of a language model: `vicuna.eps`.
    pub of_llm: bool,
}

/// The names of all language models that a spec could mean.
fn language_models<'t>(files: impl Iterator<Item = &'t File>) -> BTreeSet<String> {
    let own = files.flat_map(|file| &file.items).filter_map(|item| match &item.kind {
        ItemKind::Llm { name, .. } => Some(name.text.clone()),
        _ => None,
    });
    own.chain(library::language_models()).collect()
}

/// Reads pairs of a setting and an expression, as they were given, with what is wrong with them. `files` are the user's.
pub(crate) fn parse<'t>(
    sources: &mut Sources,
    overrides: &[(String, String)],
    files: impl Iterator<Item = &'t File>,
) -> (Vec<Override>, Vec<Diagnostic>) {
    let llms = language_models(files);
    let (mut set, mut wrong) = (Vec::new(), Vec::new());
    for (path, text) in overrides {
        let name = format!("--set {path}");
        let file = sources.add(Source { name, text: Arc::from(text.as_str()), library: false });
        match lmv_grammar::parse_expr(text) {
            Ok(expr) => {
                let path: Vec<String> = path.split('.').map(str::to_owned).collect();
                let of_llm = path.first().is_some_and(|name| llms.contains(name));
                set.push(Override { path, expr, file, of_llm });
            }
            Err(error) => {
                wrong.push(Diagnostic::error(Code::Syntax, error.message, Origin { file, span: error.span }, "here"))
            }
        }
    }
    (set, wrong)
}
