//! The library: every `.lmv` file of `stdlib/`, built into the binary. A file is a module, called by its path:
//! `stdlib/vision/vit.lmv` is `vision.vit`. Each is parsed once, when something in it is first asked for.
//!
//! `stdlib/prelude.lmv` is a file of `use` lines; what it imports is seen by every file without an import.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use include_dir::{Dir, include_dir};
use lmv_grammar::ast::{Fact, File, Item, ItemKind, Name, Signature, UsePath};

use crate::source::{FileId, Source, Sources};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../stdlib");

/// The module whose imports everything sees.
pub(crate) const PRELUDE: &str = "prelude";

/// A file of the library.
pub struct Module {
    /// What a `use` calls it: `vision.vit`.
    pub path: String,
    /// Where it lies: `stdlib/vision/vit.lmv`.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
    tree: OnceLock<Arc<File>>,
}

impl Module {
    /// Its syntax tree.
    pub fn tree(&self) -> &Arc<File> {
        self.tree.get_or_init(|| {
            let parsed = lmv_grammar::parse(&self.text);
            debug_assert!(parsed.errors.is_empty(), "{}: {:?}", self.file, parsed.errors);
            Arc::new(parsed.file)
        })
    }

    /// Its items that have a name.
    pub fn named(&self) -> impl Iterator<Item = (&Name, &Item)> {
        self.tree().items.iter().filter_map(|item| Some((declared(&item.kind)?, item)))
    }

    /// Its items that other files can import.
    fn public(&self) -> impl Iterator<Item = (&Name, &Item)> {
        self.named().filter(|(name, item)| !is_private(&name.text) && !matches!(item.kind, ItemKind::Names { .. }))
    }
}

/// Whether a name is seen in its own file alone.
pub(crate) fn is_private(name: &str) -> bool {
    name.starts_with('_')
}

/// The name that an item declares, if it declares one.
pub fn declared(item: &ItemKind) -> Option<&Name> {
    match item {
        ItemKind::Let { name, .. }
        | ItemKind::Define { name, .. }
        | ItemKind::Extern { name, .. }
        | ItemKind::Recipe { name, .. }
        | ItemKind::Llm { name, .. }
        | ItemKind::Names { name, .. } => Some(name),
        ItemKind::Setting { .. } | ItemKind::Model { .. } | ItemKind::Use { .. } | ItemKind::Variant { .. } => None,
    }
}

/// The library's files in the order of their names.
pub fn modules() -> &'static [Module] {
    static MODULES: OnceLock<Vec<Module>> = OnceLock::new();
    MODULES.get_or_init(|| {
        let mut texts = Vec::new();
        collect(&FILES, &mut texts);
        texts.sort();
        texts
            .into_iter()
            .map(|(path, text)| Module {
                path: path.trim_end_matches(".lmv").replace('/', "."),
                file: format!("stdlib/{path}"),
                text: Arc::from(text),
                tree: OnceLock::new(),
            })
            .collect()
    })
}

fn collect(dir: &Dir<'static>, texts: &mut Vec<(String, &'static str)>) {
    for file in dir.files() {
        if let (Some("lmv"), Some(text)) = (file.path().extension().and_then(|e| e.to_str()), file.contents_utf8()) {
            texts.push((file.path().display().to_string().replace('\\', "/"), text));
        }
    }
    dir.dirs().for_each(|dir| collect(dir, texts));
}

/// The number of the module `path` in [`modules`].
pub(crate) fn index(path: &str) -> Option<usize> {
    modules().iter().position(|module| module.path == path)
}

/// A path as it stands in a `use`: `vision.vit`.
pub(crate) fn path_of(names: &[Name]) -> String {
    names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(".")
}

/// What the prelude makes visible: by the name that is seen, the module and the name in it.
pub(crate) fn prelude() -> &'static HashMap<&'static str, (usize, &'static str)> {
    static SEEN: OnceLock<HashMap<&'static str, (usize, &'static str)>> = OnceLock::new();
    SEEN.get_or_init(|| {
        let mut seen = HashMap::new();
        let items = index(PRELUDE).map(|prelude| modules()[prelude].tree().items.as_slice()).unwrap_or_default();
        for item in items {
            let ItemKind::Use { from: UsePath::Module(path), names: Some(names), .. } = &item.kind else { continue };
            let Some(module) = index(&path_of(path)) else { continue };
            for used in names {
                let shown = used.alias.as_ref().unwrap_or(&used.name);
                seen.insert(shown.text.as_str(), (module, used.name.text.as_str()));
            }
        }
        seen
    })
}

/// A hash of nothing but the library's text, for the lock file of a run: the concatenation of names and texts.
pub fn fingerprint_text() -> String {
    modules().iter().map(|module| format!("{}\n{}\n", module.file, module.text)).collect()
}

/// The names an `extern` of the given kind declares, in the library's order.
pub fn extern_names(kind: &str) -> Vec<String> {
    let items = modules().iter().flat_map(Module::named);
    items
        .filter(|(_, item)| matches!(&item.kind, ItemKind::Extern { kind: k, .. } if k.text == kind))
        .map(|(name, _)| name.text.clone())
        .collect()
}

/// The names of the library's language models: `llama7b`.
pub fn language_models() -> impl Iterator<Item = String> {
    let items = modules().iter().flat_map(Module::named);
    items.filter(|(_, item)| matches!(item.kind, ItemKind::Llm { .. })).map(|(name, _)| name.text.clone())
}

/// Every `extern` whose Rust part is not written yet, as its kind and its name.
pub fn not_yet_run() -> BTreeSet<(String, String)> {
    modules().iter().flat_map(|module| unwritten(module.tree())).collect()
}

/// The same of the modules that something was asked for so far: whatever a checked spec is made of is in one of them.
pub(crate) fn not_yet_run_so_far() -> BTreeSet<(String, String)> {
    modules().iter().filter_map(|module| module.tree.get()).flat_map(|tree| unwritten(tree)).collect()
}

/// What the declaration of an `extern layer` says in its braces, by the layer's name: of the modules that something was
/// asked for so far, which those of a checked spec's layers are among.
pub(crate) fn layer_facts_so_far() -> HashMap<&'static str, &'static [Fact]> {
    let items = modules().iter().filter_map(|module| module.tree.get()).flat_map(|tree| &tree.items);
    items
        .filter_map(|item| match &item.kind {
            ItemKind::Extern { kind, name, facts, .. } if kind.text == "layer" => {
                Some((name.text.as_str(), facts.as_slice()))
            }
            _ => None,
        })
        .collect()
}

/// Every `extern layer` that says what it means in the language.
pub fn with_a_meaning() -> BTreeSet<String> {
    let says = |item: &Item| match &item.kind {
        ItemKind::Extern { name, facts, .. } => {
            facts.iter().any(|fact| matches!(fact, Fact::Means(_))).then(|| name.text.clone())
        }
        _ => None,
    };
    modules().iter().flat_map(|module| module.tree().items.iter().filter_map(says)).collect()
}

fn unwritten(tree: &File) -> impl Iterator<Item = (String, String)> {
    tree.items.iter().filter(|item| is_unwritten(item)).filter_map(|item| match &item.kind {
        ItemKind::Extern { kind, name, .. } => Some((kind.text.clone(), name.text.clone())),
        _ => None,
    })
}

fn is_unwritten(item: &Item) -> bool {
    match &item.kind {
        ItemKind::Extern { facts, .. } => facts.iter().any(|fact| matches!(fact, Fact::NotYetRun(_))),
        _ => false,
    }
}

/// Whether a part of one kind can stand where one of another is wanted: a single operation on an image is an augmentation
/// too.
pub(crate) fn is_a(kind: &str, wanted: &str) -> bool {
    kind == wanted || (kind, wanted) == ("operation", "augment")
}

/// The names that can stand where a part of the given kind is wanted: an `extern`, or a definition made of one. What has
/// to be imported has its module before it.
pub fn definition_names(kind: &str) -> Vec<String> {
    declared_as(kind).into_iter().map(|(name, _)| name).collect()
}

/// Every `extern` that can stand where a part of the given kind is wanted and that has a signature: its name as in
/// [`definition_names`], and the signature.
pub(crate) fn declared_with(kind: &str) -> Vec<(String, &'static Signature)> {
    let signed = declared_as(kind).into_iter().filter_map(|(name, item)| match &item.kind {
        ItemKind::Extern { signature: Some(signature), .. } => Some((name, signature)),
        _ => None,
    });
    signed.collect()
}

/// Names as [`definition_names`] gives them, in words: what is seen without a `use` first, the others by module.
pub(crate) fn in_words(names: &[String]) -> String {
    let mut by_module: Vec<(&str, Vec<&str>)> = vec![("", Vec::new())];
    for name in names {
        let (module, name) = name.rsplit_once('.').unwrap_or(("", name));
        match by_module.iter_mut().find(|(known, _)| *known == module) {
            Some((_, names)) => names.push(name),
            None => by_module.push((module, vec![name])),
        }
    }
    let listed = by_module.iter().filter(|(_, names)| !names.is_empty()).map(|(module, names)| {
        let names = format!("`{}`", names.join("`, `"));
        if module.is_empty() { names } else { format!("{names} of `{module}`") }
    });
    listed.collect::<Vec<_>>().join(", and ")
}

fn declared_as(kind: &str) -> Vec<(String, &'static Item)> {
    let of_kind = |item: &Item| match &item.kind {
        ItemKind::Extern { kind: k, .. } | ItemKind::Define { kind: k, .. } => is_a(&k.text, kind),
        _ => false,
    };
    let seen =
        |at: usize, name: &str| prelude().get(name).is_some_and(|(module, there)| *module == at && *there == name);
    let mut names = Vec::new();
    for (at, module) in modules().iter().enumerate() {
        for (name, item) in module.public().filter(|(_, item)| of_kind(item)) {
            let name = &name.text;
            let shown = if seen(at, name) { name.clone() } else { format!("{}.{name}", module.path) };
            names.push((shown, item));
        }
    }
    names
}

/// The names of the parameters that the library's recipes have (`recipe`), or its datasets (`dataset`).
pub fn parameter_names(sort: &str) -> BTreeSet<&'static str> {
    let params = modules().iter().flat_map(Module::named).flat_map(|(_, item)| match &item.kind {
        ItemKind::Recipe { params, .. } if sort == "recipe" => params.as_slice(),
        ItemKind::Extern { kind, params, .. } | ItemKind::Define { kind, params, .. } if kind.text == sort => params,
        _ => &[],
    });
    params.map(|param| param.name.text.as_str()).collect()
}

/// The modules that define a name which others may import.
pub(crate) fn modules_with(name: &str) -> Vec<&'static str> {
    let with = modules().iter().filter(|module| module.public().any(|(known, _)| known.text == name));
    with.map(|module| module.path.as_str()).collect()
}

/// One table of checkpoint names: `(its name, pairs of ours and theirs)`.
pub type NameTable = (String, Vec<(String, String)>);

/// The table that is not of tensors: names of weights, and the repositories of the Hugging Face Hub that hold them.
pub const REPOSITORIES: &str = "hugging_face";

/// The table that says which of our tensors are learned positions of a grid of patches, and on its right how many tokens
/// stand in front of the grid.
pub const GRID_POSITIONS: &str = "grid_positions";

/// Every table of checkpoint names in the library.
pub fn name_tables() -> Vec<NameTable> {
    tables().filter(|(name, _)| name != REPOSITORIES && name != GRID_POSITIONS).collect()
}

/// Which tensors of the library's models are learned positions of a grid: [`GRID_POSITIONS`].
pub fn grid_positions() -> impl Iterator<Item = NameTable> {
    tables().filter(|(name, _)| name == GRID_POSITIONS)
}

/// The names of weights that repositories of the Hugging Face Hub hold, each with the repository's, in the order in
/// which they are tried.
pub fn repositories() -> Vec<(String, String)> {
    tables().filter(|(name, _)| name == REPOSITORIES).flat_map(|(_, pairs)| pairs).collect()
}

fn tables() -> impl Iterator<Item = NameTable> {
    modules().iter().flat_map(|module| tables_in(module.tree()))
}

/// The `names` items of a file.
pub(crate) fn tables_in(tree: &File) -> impl Iterator<Item = NameTable> {
    tree.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Names { name, pairs } => Some((
            name.text.clone(),
            pairs.iter().map(|(ours, theirs)| (ours.text.clone(), theirs.text.clone())).collect(),
        )),
        _ => None,
    })
}

/// Adds the library to the sources: its module number i is the file number i.
pub(crate) fn load(sources: &mut Sources) {
    for module in modules() {
        sources.add(Source { name: module.file.clone(), text: module.text.clone(), library: true });
    }
}

/// The module that a file of the sources is.
pub(crate) fn module_of(file: FileId) -> Option<&'static Module> {
    modules().get(file.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_file_of_the_library_parses() {
        for module in modules() {
            let parsed = lmv_grammar::parse(&module.text);
            assert!(parsed.errors.is_empty(), "{}: {:?}", module.file, parsed.errors);
        }
    }

    #[test]
    fn every_use_in_the_library_leads_to_a_public_name_of_another_module() {
        for module in modules() {
            let mut here: BTreeMap<&str, &str> =
                module.named().map(|(name, _)| (name.text.as_str(), "defined")).collect();
            for item in &module.tree().items {
                let ItemKind::Use { from, names, .. } = &item.kind else { continue };
                let UsePath::Module(path) = from else { panic!("{} imports a file", module.file) };
                let path = path_of(path);
                let at = index(&path).unwrap_or_else(|| panic!("{}: there is no module {path}", module.file));
                let Some(names) = names else { panic!("{}: {path} has no braces", module.file) };
                for used in names {
                    let name = &used.name.text;
                    let known = modules()[at].public().any(|(declared, _)| declared.text == *name);
                    assert!(known, "{}: there is no {path}.{name}", module.file);
                    let shown = &used.alias.as_ref().unwrap_or(&used.name).text;
                    let twice = here.insert(shown, "imported");
                    assert_eq!(twice, None, "{}: {shown} is {twice:?} already", module.file);
                }
            }
        }
    }

    #[test]
    fn every_language_model_has_its_repository() {
        let known = repositories();
        let published = modules().iter().filter(|module| ["llm.llama", "llm.opt"].contains(&module.path.as_str()));
        let declared = published.flat_map(Module::named).filter(|(_, item)| matches!(item.kind, ItemKind::Llm { .. }));
        let mut count = 0;
        for (name, _) in declared {
            let has = known.iter().any(|(weights, repository)| *weights == name.text && repository.contains('/'));
            assert!(has, "`{}` has no repository in stdlib/weights/hugging_face.lmv", name.text);
            count += 1;
        }
        assert!(count > 10, "{count} language models");
        assert!(name_tables().iter().all(|(name, _)| name != REPOSITORIES));
    }

    #[test]
    fn the_prelude_is_nothing_but_imports() {
        let prelude = &modules()[index(PRELUDE).expect("stdlib/prelude.lmv")];
        assert!(prelude.tree().items.iter().all(|item| matches!(item.kind, ItemKind::Use { .. })));
        assert!(super::prelude().contains_key("vit_small"));
    }

    #[test]
    fn what_rust_runs_has_one_declaration() {
        for kind in [
            "layer",
            "dataset",
            "augment",
            "operation",
            "loss",
            "metric",
            "optimizer",
            "schedule",
            "mix",
            "sampler",
            "init",
            "group",
            "llm",
        ] {
            let mut names = extern_names(kind);
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "two modules declare the same {kind}");
        }
    }
}
