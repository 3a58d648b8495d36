//! Which names a file sees: what it defines itself, then what its `use` lines bring, then the prelude.
//!
//! A definition is lexical: whoever uses it, its body sees the names of the file that it stands in.

mod load;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lmv_grammar::ast::{File, ItemKind, UsePath};

pub(crate) use self::load::{Import, Loaded, load};
use crate::library::{self, is_private};
use crate::source::{FileId, Origin};
use crate::value::Definition;

/// What a name in the braces of a `use` stands for.
#[derive(Clone, Debug)]
enum Imported {
    /// A name of another file.
    Of(FileId, String),
    /// Something that was looked for in vain, which has been reported.
    Missing,
}

/// A file whose public names all are seen here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub file: FileId,
    /// Where the `use` names it.
    pub at: Origin,
}

/// A name that a `use` without braces brings.
#[derive(Clone, Debug)]
enum Whole {
    One(Opened, Rc<Definition>),
    /// Two files define it; which one is meant matters only where it is used.
    Two(Opened, Opened),
}

/// The names of a file.
#[derive(Debug, Default)]
struct FileScope {
    own: HashMap<String, Rc<Definition>>,
    imported: HashMap<String, Imported>,
    whole: HashMap<String, Whole>,
    /// The user's files among those imported whole: their settings are the base of this one's.
    extended: Vec<Opened>,
    /// Where names are imported from in braces, each `use` with the place of its first name.
    taken_from: Vec<Opened>,
}

/// What looking for a name came to.
pub(crate) enum Found {
    Nothing,
    /// It was imported from what is not there; that has been reported.
    Missing,
    One(Rc<Definition>),
    /// Two files that are both imported whole define it.
    Two(Opened, Opened),
}

/// The names of every file of a compilation; those of a library file are made when it is first looked into.
#[derive(Default)]
pub(crate) struct Modules {
    scopes: RefCell<HashMap<FileId, Rc<FileScope>>>,
}

impl Modules {
    fn scope(&self, file: FileId) -> Option<Rc<FileScope>> {
        if let Some(scope) = self.scopes.borrow().get(&file) {
            return Some(scope.clone());
        }
        let scope = Rc::new(FileScope::of_the_library(file, library::module_of(file)?.tree()));
        self.scopes.borrow_mut().insert(file, scope.clone());
        Some(scope)
    }

    fn insert(&self, file: FileId, scope: FileScope) {
        self.scopes.borrow_mut().insert(file, Rc::new(scope));
    }

    /// Lets the text `file`, which is no file of its own, see what `as_if` sees.
    pub fn see(&self, file: FileId, as_if: FileId) {
        if let Some(scope) = self.scope(as_if) {
            self.scopes.borrow_mut().insert(file, scope);
        }
    }

    /// What `name` stands for in `file`.
    pub fn find(&self, file: FileId, name: &str) -> Found {
        let Some(scope) = self.scope(file) else { return Found::Nothing };
        if let Some(definition) = scope.own.get(name) {
            return Found::One(definition.clone());
        }
        match scope.imported.get(name) {
            Some(Imported::Of(file, there)) => return self.public(*file, there),
            Some(Imported::Missing) => return Found::Missing,
            None => {}
        }
        if let Some(whole) = scope.whole.get(name) {
            return whole.clone().into();
        }
        match library::prelude().get(name) {
            Some((module, there)) => self.public(FileId(*module), there),
            None => Found::Nothing,
        }
    }

    /// The module of the library that `name` is seen from in `file` without a `use`, and what it is called there.
    pub fn by_the_prelude(&self, file: FileId, name: &str) -> Option<(FileId, &'static str)> {
        let (module, there) = library::prelude().get(name)?;
        let scope = self.scope(file)?;
        let hidden =
            scope.own.contains_key(name) || scope.imported.contains_key(name) || scope.whole.contains_key(name);
        (!hidden).then_some((FileId(*module), *there))
    }

    /// The `use` in `file` of other names in braces, from where there is a public `name` besides that of `module`.
    pub fn not_taken_along(&self, file: FileId, name: &str, module: FileId) -> Option<Opened> {
        let scope = self.scope(file)?;
        let beside = |from: &&Opened| from.file != module && matches!(self.public(from.file, name), Found::One(_));
        scope.taken_from.iter().find(beside).copied()
    }

    /// What another file can import from `file` by `name`: what it defines, and what it imports whole.
    fn public(&self, file: FileId, name: &str) -> Found {
        match self.scope(file) {
            Some(scope) if !is_private(name) => match (scope.own.get(name), scope.whole.get(name)) {
                (Some(definition), _) => Found::One(definition.clone()),
                (None, Some(whole)) => whole.clone().into(),
                (None, None) => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    /// An item that `file` itself defines.
    pub fn own(&self, file: FileId, name: &str) -> Option<Rc<Definition>> {
        self.scope(file)?.own.get(name).cloned()
    }

    /// The file that `file` imports whole, and that keeps `name` to itself.
    pub fn kept_back(&self, file: FileId, name: &str) -> Option<Opened> {
        self.extended(file).into_iter().find(|opened| is_private(name) && self.own(opened.file, name).is_some())
    }

    /// The file that a file which `file` builds on imports `name` from, and what it is called there.
    pub fn imported_below(&self, file: FileId, name: &str) -> Option<(FileId, String)> {
        let mut ahead = self.extended(file);
        let mut known: Vec<FileId> = Vec::new();
        while let Some(opened) = ahead.pop() {
            if known.contains(&opened.file) {
                continue;
            }
            known.push(opened.file);
            if let Some(Imported::Of(from, there)) =
                self.scope(opened.file).and_then(|scope| scope.imported.get(name).cloned())
            {
                return Some((from, there));
            }
            ahead.extend(self.extended(opened.file));
        }
        None
    }

    /// The files whose settings are the base of `file`'s, in the order of its `use` lines.
    pub fn extended(&self, file: FileId) -> Vec<Opened> {
        self.scope(file).map(|scope| scope.extended.clone()).unwrap_or_default()
    }

    /// Every name that `file` sees, in no order.
    pub fn names(&self, file: FileId) -> Vec<String> {
        let mut names: Vec<String> = library::prelude().keys().map(|name| (*name).to_owned()).collect();
        if let Some(scope) = self.scope(file) {
            names.extend(scope.own.keys().chain(scope.imported.keys()).chain(scope.whole.keys()).cloned());
        }
        names
    }

    /// Every name that another file can import from `file`, in order.
    fn public_names(&self, file: FileId) -> Vec<String> {
        let Some(scope) = self.scope(file) else { return Vec::new() };
        let mut names: Vec<String> =
            scope.own.keys().chain(scope.whole.keys()).filter(|name| !is_private(name)).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Adds everything public of a file to a scope.
    fn open(&self, scope: &mut FileScope, opened: Opened) {
        if library::module_of(opened.file).is_none() {
            scope.extended.push(opened);
        }
        for name in self.public_names(opened.file) {
            let brought = match self.public(opened.file, &name) {
                Found::One(definition) => Whole::One(opened, definition),
                Found::Two(first, second) => Whole::Two(first, second),
                Found::Nothing | Found::Missing => continue,
            };
            let together = match (scope.whole.remove(&name), brought) {
                (None, brought) => brought,
                (Some(Whole::One(first, known)), Whole::One(second, definition)) => {
                    match Rc::ptr_eq(&known, &definition) {
                        true => Whole::One(first, known),
                        false => Whole::Two(first, second),
                    }
                }
                (Some(two @ Whole::Two(..)), _) | (_, two @ Whole::Two(..)) => two,
            };
            scope.whole.insert(name, together);
        }
    }
}

impl From<Whole> for Found {
    fn from(whole: Whole) -> Self {
        match whole {
            Whole::One(_, definition) => Found::One(definition),
            Whole::Two(first, second) => Found::Two(first, second),
        }
    }
}

impl FileScope {
    /// The names of a library file. What its `use` lines name is there, and none of them is without braces: a test sees
    /// to that.
    fn of_the_library(file: FileId, tree: &Arc<File>) -> Self {
        let own = definitions(file, tree).into_iter().collect();
        let mut scope = Self { own, ..Self::default() };
        for item in &tree.items {
            let ItemKind::Use { from: UsePath::Module(path), names: Some(names), .. } = &item.kind else { continue };
            let Some(module) = library::index(&library::path_of(path)).map(FileId) else { continue };
            for used in names {
                let here = used.alias.as_ref().unwrap_or(&used.name).text.clone();
                scope.imported.insert(here, Imported::Of(module, used.name.text.clone()));
            }
        }
        scope
    }
}

/// The definitions of a file by name, in its order.
fn definitions(file: FileId, tree: &Arc<File>) -> Vec<(String, Rc<Definition>)> {
    let named = tree.items.iter().enumerate().filter(|(_, item)| !matches!(item.kind, ItemKind::Names { .. }));
    named
        .filter_map(|(item, it)| {
            let name = library::declared(&it.kind)?.text.clone();
            Some((name.clone(), Rc::new(Definition { name, file, tree: tree.clone(), item })))
        })
        .collect()
}
