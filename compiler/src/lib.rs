//! The compiler: from the text of a spec to a typed graph and its settings, or to errors that teach.
//!
//! The way through, each step named by the function that takes it:
//! 1. [`lmv_grammar::parse`] turns text into a syntax tree, with an error for each item it had to leave out.
//! 2. [`check`] follows the `use` lines to the library and to other files (`modules/load`), so that each file sees its
//!    own names (`modules`).
//! 3. It lays the settings of the spec over those of the files that it extends (`settings`), and those of each variant
//!    over them (`variants`).
//! 4. It elaborates the spec and its variants (`experiment`): expressions become values (`elaborate/eval`), arguments
//!    meet parameters (`elaborate/binding`), layers are put onto streams (`elaborate/apply`), shapes are held against
//!    signatures (`elaborate/matching`).
//! 5. What falls out is an [`Experiment`] with its [`graph::Graph`], or [`diagnostic::Diagnostic`]s.
//! 6. [`passes::Passes::plan`] makes a [`plan::Plan`] of the graph, which the runtime lowers.
//!
//! Nothing here touches a file, a clock or a tensor; other files come through [`files::Files`].

pub mod codes;
pub mod config;
pub mod declared_only;
pub mod diagnostic;
pub mod drawing;
mod elaborate;
pub mod experiment;
pub mod files;
pub mod fix;
pub mod graph;
pub mod library;
pub mod manual;
mod measures;
pub mod metrics;
mod modules;
mod near;
mod overrides;
pub mod passes;
pub mod plan;
mod points_left;
mod recipe;
mod samples;
mod settings;
pub mod shape;
pub mod size;
pub mod source;
mod value;
mod variants;
pub mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lmv_grammar::ast::{File, ItemKind, Span};

use crate::codes::Code;
pub use crate::declared_only::DeclaredOnly;
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Elaborator, Knowledge, Known};
pub use crate::experiment::{Experiment, Field};
use crate::files::{Files, NoFiles};
pub use crate::metrics::Metric;
use crate::modules::{Import, Loaded, Modules};
pub use crate::recipe::Recipe;
use crate::settings::Settings;
use crate::source::{FileId, Origin, Source, Sources};
use crate::variants::{Findings, Variant};

/// The steps of all variants together stop at so many times the steps that one spec may take.
const STEPS_OF_VARIANTS: usize = 4;

/// A spec, and what is wanted of it.
#[derive(Clone, Copy)]
pub struct Spec<'s> {
    /// Its path, or the name that messages show. The paths in its `use` lines begin in the same folder.
    pub name: &'s str,
    /// Its text.
    pub text: &'s str,
    /// The files that it may import.
    pub files: &'s dyn Files,
    /// Pairs of a setting and the expression it is set to from outside: `("train.lr", "1e-4")`.
    pub overrides: &'s [(String, String)],
    /// Which of its variants.
    pub which: Which<'s>,
}

/// Which variant of a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'s> {
    /// The spec itself, and every variant: to say what is wrong with any of them. The experiment is the spec's own.
    All,
    /// The spec itself.
    Base,
    /// The variant of this name.
    Variant(&'s str),
}

/// What came of a compilation.
pub struct Compiled {
    /// Every text that was read, for showing places.
    pub sources: Sources,
    /// The spec itself among them.
    pub file: FileId,
    /// The names of its variants, members of families each by their own: `layer.31`.
    pub variants: Vec<String>,
    /// What is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// What is right, and probably not meant, in the same order.
    pub warnings: Vec<Diagnostic>,
    /// The checked experiment. There is none when something is wrong, when a spec that is nothing but variants is asked
    /// for all of them, when the file holds parts alone, and when there is no variant of the wanted name.
    pub experiment: Option<Experiment>,
    /// How many definitions a file has that sets nothing: parts that other files use.
    pub parts: Option<usize>,
    /// The names of what the spec and the wanted variants use, and that cannot run yet.
    pub not_yet_run: Vec<String>,
    tree: Arc<File>,
    imports: Vec<Import>,
}

impl Compiled {
    /// A compilation that made nothing but messages.
    fn of_messages(sources: Sources, file: FileId, diagnostics: Vec<Diagnostic>, tree: Arc<File>) -> Self {
        Self {
            sources,
            file,
            variants: Vec::new(),
            diagnostics,
            warnings: Vec::new(),
            experiment: None,
            parts: None,
            not_yet_run: Vec::new(),
            tree,
            imports: Vec::new(),
        }
    }

    /// The spec's syntax tree.
    pub fn tree(&self) -> &File {
        &self.tree
    }

    /// The spec and every file that it imports as they can stand in a folder of their own: `spec.lmv`, and the others in
    /// `imports/`. The paths in their `use` lines are changed to lead there; nothing else is.
    pub fn folder(&self) -> Vec<(String, String)> {
        let mut files: Vec<FileId> = self.imports.iter().map(|import| import.file).collect();
        files.sort();
        files.dedup();
        let names = files::names_apart(files.iter().map(|file| self.sources.get(*file).name.as_str()));
        let name_of = |file: FileId| files.binary_search(&file).ok().and_then(|at| names.get(at));
        let copy = |file: FileId, from: &str| {
            let mut text = self.sources.get(file).text.to_string();
            let mut paths: Vec<&Import> = self.imports.iter().filter(|import| import.at.file == file).collect();
            paths.sort_by_key(|import| std::cmp::Reverse(import.at.span.start));
            for import in paths {
                if let Some(name) = name_of(import.file) {
                    text.replace_range(import.at.span.start..import.at.span.end, &format!("\"{from}{name}\""));
                }
            }
            text
        };
        let spec = ("spec.lmv".to_owned(), copy(self.file, "./imports/"));
        let imported = files.iter().zip(&names).map(|(file, name)| (format!("imports/{name}"), copy(*file, "./")));
        std::iter::once(spec).chain(imported).collect()
    }
}

/// Checks the spec `text`, shown in messages as `name`, which imports no other file, with all its variants.
pub fn compile(name: &str, text: &str, overrides: &[(String, String)]) -> Compiled {
    check(&Spec { name, text, files: &NoFiles, overrides, which: Which::All })
}

/// Compiles the spec `text` with every layer that the library says the meaning of written out as that: the same model,
/// step by step. For holding what Rust runs in one step against what it stands for.
pub fn compile_by_meaning(name: &str, text: &str) -> Compiled {
    check_as(&Spec { name, text, files: &NoFiles, overrides: &[], which: Which::Base }, true)
}

/// Checks a spec.
pub fn check(spec: &Spec<'_>) -> Compiled {
    check_as(spec, false)
}

fn check_as(spec: &Spec<'_>, by_meaning: bool) -> Compiled {
    let mut sources = Sources::default();
    library::load(&mut sources);
    let Loaded { file, modules, trees, mut diagnostics, incomplete, imports } =
        modules::load(&mut sources, spec.files, spec.name, spec.text);
    let tree = trees.get(&file).cloned().unwrap_or_default();
    let (set, wrong) = overrides::parse(&mut sources, spec.overrides, trees.values().map(AsRef::as_ref));
    set.iter().for_each(|set| modules.see(set.file, file));
    let incomplete = incomplete || !wrong.is_empty();
    diagnostics.extend(wrong);
    if diagnostics.is_empty() && tree.items.is_empty() {
        let at = Origin { file, span: Span::new(0, 0) };
        diagnostics.push(
            Diagnostic::error(Code::Empty, "this spec is empty", at, "nothing is defined here")
                .help("`lmvc explain E0102` shows a spec to start from"),
        );
        return Compiled::of_messages(sources, file, diagnostics, tree);
    }
    let (mut findings, mut warned) = (Findings::default(), Findings::default());
    let mut elaborator = Elaborator::new(&sources, &modules);
    elaborator.by_meaning = by_meaning;
    elaborator.set = &set;
    let settings = elaborator.settings(file, &trees);
    let variants = elaborator.variants(file, &trees);
    let names: Vec<String> = variants.iter().map(|variant| variant.name.clone()).collect();
    let wanted = |variant: &Variant<'_>| match spec.which {
        Which::All => true,
        Which::Base => false,
        Which::Variant(name) => variant.name == name,
    };
    let mut experiment = None;
    let parts = tree.items.iter().filter(|item| is_part(&item.kind)).count();
    let parts = (settings.is_empty() && variants.is_empty() && parts > 0).then_some(parts);
    elaborator.needs_no_model = (!variants.is_empty() || parts.is_some()) && spec.which == Which::All;
    let known = Known::default();
    if spec.which == Which::All && !variants.is_empty() {
        elaborator.knowledge = Knowledge::Given(&known);
    }
    if matches!(spec.which, Which::Variant(_)) {
        findings.add(elaborator.diagnostics, None);
        warned.add(elaborator.warnings, None);
    } else {
        let mut settings = settings.clone();
        elaborator.set_from_outside(&mut settings, &set);
        experiment = elaborator.experiment(file, &tree, &settings).filter(|_| settings.model.is_some());
        let mut files: Vec<_> = trees.iter().collect();
        files.sort_by_key(|(file, _)| **file);
        files.into_iter().for_each(|(file, tree)| elaborator.unused_items(*file, tree));
        if settings.model.is_none() && spec.which == Which::Base && !names.is_empty() {
            elaborator.say_which_variants(&names);
        } else if let (Some(_), Which::Base) = (parts, spec.which) {
            elaborator.say_what_the_parts_are_for(&tree);
        } else if settings.model.is_none() {
            elaborator.say_what_could_be_extended(imports.iter().filter(|import| import.at.file == file), &trees);
        }
        findings.add(elaborator.diagnostics, None);
        warned.add(elaborator.warnings, None);
    }
    let mut not_yet_run = names_of(experiment.as_ref());
    let mut steps = 0;
    for (number, variant) in variants.iter().enumerate().filter(|(_, variant)| wanted(variant)) {
        let elaborated = |knowledge| {
            let mut elaborator = Elaborator::new(&sources, &modules);
            elaborator.set = &set;
            elaborator.variant = Some((variant.name.clone(), variant.at));
            elaborator.knowledge = knowledge;
            let mut settings: Settings<'_> = settings.clone();
            elaborator.lay_over(&mut settings, variant.settings, &variant.env);
            elaborator.set_from_outside(&mut settings, &set);
            let found = elaborator.experiment(file, &tree, &settings);
            (elaborator, found)
        };
        let mut elaborator = match spec.which {
            Which::All => {
                let (elaborator, found) = elaborated(Knowledge::Taken(&known));
                // What is taken as a whole is the spec's own, and was counted there.
                not_yet_run.extend(names_of(found.as_ref()));
                // What is wrong is found among the layers themselves.
                if elaborator.diagnostics.is_empty() { elaborator } else { elaborated(Knowledge::None).0 }
            }
            Which::Base | Which::Variant(_) => {
                let (elaborator, found) = elaborated(Knowledge::None);
                not_yet_run.extend(names_of(found.as_ref()));
                experiment = found;
                elaborator
            }
        };
        steps += elaborator.steps();
        if steps > STEPS_OF_VARIANTS * elaborate::MOST_STEPS {
            elaborator.too_many_variants(variant);
        }
        let stop = steps > STEPS_OF_VARIANTS * elaborate::MOST_STEPS;
        findings.add(elaborator.diagnostics, Some(number));
        warned.add(elaborator.warnings, Some(number));
        if stop || findings.len() >= elaborate::MOST_ERRORS {
            break;
        }
    }
    let mut found = findings.told(&variants, &sources);
    if incomplete {
        // What was left out for its syntax, or is in a file that was not found, must not be reported as missing as well.
        let of_what_is_missing = [Code::NoModel, Code::UnknownName, Code::Stream, Code::NoBase];
        found.retain(|diagnostic| !of_what_is_missing.contains(&diagnostic.code));
    }
    diagnostics.append(&mut found);
    diagnostics.truncate(elaborate::MOST_ERRORS);
    let mut warnings = warned.told(&variants, &sources);
    for told in [&mut diagnostics, &mut warnings] {
        told.sort_by_key(|diagnostic| {
            diagnostic.labels.first().map_or((true, FileId(usize::MAX), 0), |label| {
                (label.origin.file != file, label.origin.file, label.origin.span.start)
            })
        });
    }
    let experiment = experiment.filter(|_| diagnostics.is_empty()).map(|mut experiment| {
        let imported = imports.iter().filter_map(|import| trees.get(&import.file).map(|tree| (import.file, tree)));
        let files: BTreeMap<FileId, &Arc<File>> = imported.collect();
        let own = std::iter::once(&tree).chain(files.into_values());
        experiment.graph.names = own.flat_map(|tree| library::tables_in(tree)).collect();
        experiment
    });
    let not_yet_run = not_yet_run.into_iter().collect();
    Compiled { sources, file, variants: names, diagnostics, warnings, experiment, parts, not_yet_run, tree, imports }
}

/// Whether an item is something that other files can use.
fn is_part(item: &ItemKind) -> bool {
    matches!(
        item,
        ItemKind::Let { .. }
            | ItemKind::Define { .. }
            | ItemKind::Recipe { .. }
            | ItemKind::Llm { .. }
            | ItemKind::Names { .. }
    )
}

fn names_of(experiment: Option<&Experiment>) -> BTreeSet<String> {
    experiment.into_iter().flat_map(|found| &found.not_yet_run).map(|part| part.name.clone()).collect()
}

/// Reads the spec `text`, shown in messages as `name`, and compiles nothing: what there is to say of it is its syntax.
pub fn read(name: &str, text: &str) -> Compiled {
    let mut sources = Sources::default();
    let parsed = lmv_grammar::parse(text);
    let file = sources.add(Source { name: name.to_owned(), text: Arc::from(text), library: false });
    let diagnostics = parsed.errors.into_iter().map(|error| Diagnostic::of_syntax(error, file)).collect();
    Compiled::of_messages(sources, file, diagnostics, Arc::new(parsed.file))
}

/// Checks every layer of the library by itself, whatever its arguments are. Nothing is wrong with a library that is
/// shipped: this is for the tests.
pub fn check_library() -> Compiled {
    let mut sources = Sources::default();
    library::load(&mut sources);
    let modules = Modules::default();
    let mut elaborator = Elaborator::new(&sources, &modules);
    for (file, module) in library::modules().iter().enumerate() {
        for (name, _) in module.named() {
            if let Some(definition) = modules.own(FileId(file), &name.text) {
                elaborator.check_definition(&definition);
            }
        }
    }
    let diagnostics = elaborator.diagnostics;
    Compiled::of_messages(sources, FileId(0), diagnostics, Arc::default())
}
