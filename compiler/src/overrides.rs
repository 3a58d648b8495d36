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

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const SPEC: &str = "llm small = llama(dim = 8, heads = 2, ffn = 12, layers = 2)
model(x : [T?, 8]) { x >> frozen(small.layer[0]) >> rms_norm(8, eps = small.eps) }
";

    fn compiled(name: &str, value: &str) -> crate::Compiled {
        crate::compile("a.lmv", SPEC, &[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn an_argument_of_a_language_model_goes_by_its_name() {
        let graph = compiled("small.eps", "1e-3").experiment.expect("a model").graph;
        let norms = graph.nodes.iter().filter(|node| node.layer == "rms_norm");
        let eps: Vec<Option<f64>> = norms.map(|node| node.arguments.get("eps").and_then(Config::float)).collect();
        assert_eq!(eps, [Some(1e-3); 3]);
        for (name, value, message) in [
            ("small.epz", "1e-3", "`llama` has no argument `epz`"),
            ("small.layers", "0", "a language model with layers = 0"),
            ("other.eps", "1e-3", "`other.eps` is no setting that can be set from outside"),
            ("small", "1e-3", "`small` is no setting that can be set from outside"),
        ] {
            let compiled = compiled(name, value);
            let messages: Vec<&str> = compiled.diagnostics.iter().map(|found| found.message.as_str()).collect();
            assert_eq!(messages, [message], "{name}");
        }
    }
}
