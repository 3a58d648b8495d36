//! The library: every `.lmv` file of `stdlib/`, built into the binary, parsed once.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use include_dir::{Dir, include_dir};
use lmv_grammar::ast::{Fact, File, ItemKind};

use crate::source::{FileId, Source, Sources};
use crate::value::Definition;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../stdlib");

/// A file: its name, its text, its tree.
type Text = (String, Arc<str>, Arc<File>);

/// The library's files in order of their names.
fn files() -> &'static [Text] {
    static PARSED: OnceLock<Vec<Text>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut texts = Vec::new();
        collect(&FILES, &mut texts);
        texts.sort();
        texts
            .into_iter()
            .map(|(name, text)| {
                let parsed = lmv_grammar::parse(text);
                debug_assert!(parsed.errors.is_empty(), "{name}: {:?}", parsed.errors);
                (name, Arc::from(text), Arc::new(parsed.file))
            })
            .collect()
    })
}

fn collect(dir: &Dir<'static>, texts: &mut Vec<(String, &'static str)>) {
    for file in dir.files() {
        if let (Some("lmv"), Some(text)) = (file.path().extension().and_then(|e| e.to_str()), file.contents_utf8()) {
            texts.push((format!("stdlib/{}", file.path().display()), text));
        }
    }
    dir.dirs().for_each(|dir| collect(dir, texts));
}

/// A hash of nothing but the library's text, for the lock file of a run: the concatenation of names and texts.
pub fn fingerprint_text() -> String {
    files().iter().map(|(name, text, _)| format!("{name}\n{text}\n")).collect()
}

/// The names an `extern` of the given kind declares, in the library's order.
pub fn extern_names(kind: &str) -> Vec<String> {
    files()
        .iter()
        .flat_map(|(_, _, tree)| &tree.items)
        .filter_map(|item| match &item.kind {
            ItemKind::Extern { kind: k, name, .. } if k.text == kind => Some(name.text.clone()),
            _ => None,
        })
        .collect()
}

/// Every `extern` whose Rust part is not written yet, as its kind and its name.
pub fn not_yet_run() -> &'static BTreeSet<(String, String)> {
    static FOUND: OnceLock<BTreeSet<(String, String)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        files()
            .iter()
            .flat_map(|(_, _, tree)| &tree.items)
            .filter_map(|item| match &item.kind {
                ItemKind::Extern { kind, name, facts, .. }
                    if facts.iter().any(|f| matches!(f, Fact::NotYetRun(..))) =>
                {
                    Some((kind.text.clone(), name.text.clone()))
                }
                _ => None,
            })
            .collect()
    })
}

/// The names that can stand where a part of the given kind is wanted: an `extern`, or a definition made of one.
pub fn definition_names(kind: &str) -> Vec<String> {
    files()
        .iter()
        .flat_map(|(_, _, tree)| &tree.items)
        .filter_map(|item| match &item.kind {
            ItemKind::Extern { kind: k, name, .. } | ItemKind::Define { kind: k, name, .. } if k.text == kind => {
                Some(name.text.clone())
            }
            _ => None,
        })
        .collect()
}

/// One table of checkpoint names: `(its name, pairs of ours and theirs)`.
pub type NameTable = (String, Vec<(String, String)>);

/// Every `names` item of the library.
pub fn name_tables() -> Vec<NameTable> {
    files()
        .iter()
        .flat_map(|(_, _, tree)| &tree.items)
        .filter_map(|item| match &item.kind {
            ItemKind::Names { name, pairs } => Some((
                name.text.clone(),
                pairs.iter().map(|(ours, theirs)| (ours.text.clone(), theirs.text.clone())).collect(),
            )),
            _ => None,
        })
        .collect()
}

/// The declaration of a library name as it is written, with its documentation: for `lmvc explain NAME`.
pub fn declaration(name: &str) -> Option<(String, Option<String>)> {
    for (_, text, tree) in files() {
        for (index, item) in tree.items.iter().enumerate() {
            let definition = Definition { name: String::new(), file: FileId(0), tree: tree.clone(), item: index };
            let span = definition.origin().span;
            if text.get(span.start..span.end) == Some(name) {
                let written = text.get(item.span.start..item.span.end).unwrap_or("").trim_end().to_owned();
                return Some((written, item.doc.clone()));
            }
        }
    }
    None
}

/// Adds the library to the sources, and gives its definitions by name.
pub(crate) fn load(sources: &mut Sources) -> HashMap<String, Rc<Definition>> {
    let mut names = HashMap::new();
    for (name, text, tree) in files() {
        let file = sources.add(Source { name: name.clone(), text: text.clone(), tree: tree.clone(), library: true });
        names.extend(definitions(file, tree));
    }
    names
}

/// The definitions of a file by name; a later one of the same name replaces an earlier one.
pub(crate) fn definitions(file: FileId, tree: &Arc<File>) -> Vec<(String, Rc<Definition>)> {
    tree.items
        .iter()
        .enumerate()
        .filter_map(|(item, it)| {
            let name = match &it.kind {
                ItemKind::Let { name, .. }
                | ItemKind::Define { name, .. }
                | ItemKind::Extern { name, .. }
                | ItemKind::Recipe { name, .. }
                | ItemKind::Llm { name, .. } => name.text.clone(),
                ItemKind::Setting { .. }
                | ItemKind::Model { .. }
                | ItemKind::Names { .. }
                | ItemKind::Use { .. }
                | ItemKind::Variant { .. } => return None,
            };
            Some((name.clone(), Rc::new(Definition { name, file, tree: tree.clone(), item })))
        })
        .collect()
}
