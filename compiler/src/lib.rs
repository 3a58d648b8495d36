//! The compiler: from the text of a spec to a typed graph and its settings, or to errors that teach.
//!
//! The way through, each step named by the function that takes it:
//! 1. [`lmv_grammar::parse`] turns text into a syntax tree, with an error for each item it had to leave out.
//! 2. [`compile`] loads the library (`library`), then elaborates the spec (`experiment`): expressions become values
//!    (`elaborate/eval`), arguments meet parameters (`elaborate/binding`), layers are put onto streams
//!    (`elaborate/apply`), shapes are held against signatures (`elaborate/matching`).
//! 3. What falls out is an [`Experiment`] with its [`graph::Graph`], or [`diagnostic::Diagnostic`]s.
//! 4. [`passes::Passes::plan`] makes a [`plan::Plan`] of the graph, which the runtime lowers.
//!
//! Nothing here touches a file, a clock or a tensor.

pub mod codes;
pub mod config;
pub mod declared_only;
pub mod diagnostic;
pub mod drawing;
mod elaborate;
pub mod experiment;
pub mod fix;
pub mod graph;
pub mod library;
mod measures;
mod near;
pub mod passes;
pub mod plan;
pub mod shape;
pub mod size;
pub mod source;
mod value;

use std::sync::Arc;

use lmv_grammar::ast::{File, Span};

use crate::codes::Code;
pub use crate::declared_only::DeclaredOnly;
use crate::diagnostic::Diagnostic;
use crate::elaborate::Elaborator;
use crate::experiment::Override;
pub use crate::experiment::{Experiment, Field, Recipe};
use crate::source::{FileId, Origin, Source, Sources};

/// What came of a compilation.
pub struct Compiled {
    /// Every text that was read, for showing places.
    pub sources: Sources,
    /// The spec itself among them.
    pub file: FileId,
    /// What is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The checked spec, when nothing is wrong.
    pub experiment: Option<Experiment>,
}

impl Compiled {
    /// The spec's syntax tree.
    pub fn tree(&self) -> &File {
        &self.sources.get(self.file).tree
    }
}

/// Compiles the spec `text`, shown in messages as `name`. `overrides` are pairs of a setting and the expression it is
/// set to, as in `("train.lr", "1e-4")`.
pub fn compile(name: &str, text: &str, overrides: &[(String, String)]) -> Compiled {
    let mut sources = Sources::default();
    let library = library::load(&mut sources);
    let parsed = lmv_grammar::parse(text);
    let tree = Arc::new(parsed.file);
    let file = sources.add(Source { name: name.to_owned(), text: Arc::from(text), tree: tree.clone(), library: false });
    let mut diagnostics: Vec<Diagnostic> = parsed.errors.into_iter().map(|error| of_syntax(error, file)).collect();
    let (set, wrong) = parse_overrides(&mut sources, overrides);
    diagnostics.extend(wrong);
    if diagnostics.is_empty() && tree.items.is_empty() {
        let at = Origin { file, span: Span::new(0, 0) };
        diagnostics.push(
            Diagnostic::error(Code::Empty, "this spec is empty", at, "nothing is defined here")
                .help("`lmvc explain E0102` shows a spec to start from"),
        );
        return Compiled { sources, file, diagnostics, experiment: None };
    }
    let syntax_is_wrong = !diagnostics.is_empty();
    let mut elaborator = Elaborator::new(&sources, &library);
    let experiment = elaborator.experiment(file, &tree, &set);
    let mut found = elaborator.diagnostics;
    if syntax_is_wrong {
        // What was left out for its syntax must not be reported as missing as well.
        found.retain(|diagnostic| !matches!(diagnostic.code, Code::NoModel | Code::UnknownName | Code::Stream));
    }
    diagnostics.append(&mut found);
    diagnostics.sort_by_key(|diagnostic| {
        diagnostic.labels.first().map_or((true, 0), |label| (label.origin.file != file, label.origin.span.start))
    });
    let experiment = experiment.filter(|_| diagnostics.is_empty());
    Compiled { sources, file, diagnostics, experiment }
}

/// Reads the spec `text`, shown in messages as `name`, and compiles nothing: what there is to say of it is its syntax.
pub fn read(name: &str, text: &str) -> Compiled {
    let mut sources = Sources::default();
    let parsed = lmv_grammar::parse(text);
    let tree = Arc::new(parsed.file);
    let file = sources.add(Source { name: name.to_owned(), text: Arc::from(text), tree, library: false });
    let diagnostics = parsed.errors.into_iter().map(|error| of_syntax(error, file)).collect();
    Compiled { sources, file, diagnostics, experiment: None }
}

fn of_syntax(error: lmv_grammar::SyntaxError, file: FileId) -> Diagnostic {
    let at = Origin { file, span: error.span };
    let diagnostic = Diagnostic::error(Code::Syntax, error.message, at, "here");
    match (error.help, error.becomes) {
        (Some(help), Some(text)) => diagnostic.fix(help, at, text),
        (Some(help), None) => diagnostic.help(help),
        (None, _) => diagnostic,
    }
}

/// Checks every layer of the library by itself, whatever its arguments are. Nothing is wrong with a library that is
/// shipped: this is for the tests.
pub fn check_library() -> Compiled {
    let mut sources = Sources::default();
    let library = library::load(&mut sources);
    let mut definitions: Vec<_> = library.values().cloned().collect();
    definitions.sort_by_key(|definition| (definition.file, definition.item));
    let mut elaborator = Elaborator::new(&sources, &library);
    for definition in &definitions {
        elaborator.check_definition(definition);
    }
    let diagnostics = elaborator.diagnostics;
    Compiled { sources, file: FileId(0), diagnostics, experiment: None }
}

fn parse_overrides(sources: &mut Sources, overrides: &[(String, String)]) -> (Vec<Override>, Vec<Diagnostic>) {
    let (mut set, mut wrong) = (Vec::new(), Vec::new());
    for (path, text) in overrides {
        let name = format!("--set {path}");
        let tree = Arc::new(File::default());
        let file = sources.add(Source { name, text: Arc::from(text.as_str()), tree, library: false });
        match lmv_grammar::parse_expr(text) {
            Ok(expr) => set.push(Override { path: path.split('.').map(str::to_owned).collect(), expr, file }),
            Err(error) => {
                wrong.push(Diagnostic::error(Code::Syntax, error.message, Origin { file, span: error.span }, "here"))
            }
        }
    }
    (set, wrong)
}
