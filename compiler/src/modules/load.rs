//! A spec with all the files that it imports: read, parsed, and their `use` lines followed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lmv_grammar::ast::{File, ItemKind, Literal, Name, Span, UseName, UsePath};

use super::{FileScope, Found, Imported, Modules, Opened, definitions};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::files::{self, Files, Unreadable};
use crate::library;
use crate::near::{nearest, nearest_few};
use crate::settings::Trees;
use crate::source::{FileId, Origin, Source, Sources};

/// Files that import each other in a row longer than this are not followed.
const LONGEST_WAY: usize = 32;

/// A spec and what it imports.
pub(crate) struct Loaded {
    pub file: FileId,
    pub modules: Modules,
    pub trees: Trees,
    pub diagnostics: Vec<Diagnostic>,
    /// Whether something is missing: an item for its syntax, or a file. What else is missing may then be in it.
    pub incomplete: bool,
    pub imports: Vec<Import>,
}

/// A `use "./mine.lmv"` that led to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import {
    /// The path, with its quotes.
    pub at: Origin,
    pub file: FileId,
}

/// Reads the spec `text`, shown as `name`, and everything it imports.
pub(crate) fn load(sources: &mut Sources, files: &dyn Files, name: &str, text: &str) -> Loaded {
    let mut loader = Loader {
        sources,
        files,
        modules: Modules::default(),
        trees: Trees::new(),
        diagnostics: Vec::new(),
        incomplete: false,
        imports: Vec::new(),
        known: HashMap::new(),
        way: Vec::new(),
        torn: HashSet::new(),
    };
    let file = loader.file(name.to_owned(), &files::normal(name), text);
    let Loader { modules, trees, diagnostics, incomplete, imports, .. } = loader;
    Loaded { file, modules, trees, diagnostics, incomplete, imports }
}

struct Loader<'l> {
    sources: &'l mut Sources,
    files: &'l dyn Files,
    modules: Modules,
    trees: Trees,
    diagnostics: Vec<Diagnostic>,
    incomplete: bool,
    imports: Vec<Import>,
    /// The files read so far by path; `None` for one that could not be.
    known: HashMap<String, Option<FileId>>,
    /// The files whose imports are being followed: the path of each.
    way: Vec<String>,
    /// The files of which an item was left out for its syntax.
    torn: HashSet<FileId>,
}

/// What a file's `use` lines have brought so far.
#[derive(Default)]
struct Brought {
    scope: FileScope,
    /// Where each name in braces stands.
    places: HashMap<String, Origin>,
    /// The files imported whole.
    opened: Vec<FileId>,
}

impl Loader<'_> {
    fn file(&mut self, shown: String, path: &str, text: &str) -> FileId {
        let parsed = lmv_grammar::parse(text);
        let tree = Arc::new(parsed.file);
        let file = self.sources.add(Source { name: shown, text: Arc::from(text), library: false });
        if !parsed.errors.is_empty() {
            self.incomplete = true;
            self.torn.insert(file);
        }
        self.diagnostics.extend(parsed.errors.into_iter().map(|error| Diagnostic::of_syntax(error, file)));
        self.of_the_library_alone(file, &tree);
        self.way.push(path.to_owned());
        let mut brought = Brought::default();
        for item in &tree.items {
            if let ItemKind::Use { from, names, .. } = &item.kind {
                self.follow(file, path, from, names.as_deref(), &mut brought);
            }
        }
        self.way.pop();
        let mut own = HashMap::new();
        for (name, definition) in definitions(file, &tree) {
            let first = own.get(&name).map(|earlier: &std::rc::Rc<crate::value::Definition>| earlier.origin());
            if let Some(first) = first {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("`{name}` is defined twice"),
                        definition.origin(),
                        "defined again here",
                    )
                    .also(first, "first defined here")
                    .help("give one of them another name, or remove it"),
                );
                continue;
            }
            // What was imported in vain has been reported.
            let used = brought.places.get(&name);
            if let (Some(used), Some(Imported::Of(..))) = (used, brought.scope.imported.get(&name)) {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("`{name}` is imported, and defined here as well"),
                        definition.origin(),
                        "defined here",
                    )
                    .also(*used, "imported here")
                    .replace(
                        "import it under another name",
                        *used,
                        format!("{name} as other_{name}"),
                    ),
                );
            }
            own.insert(name, definition);
        }
        self.modules.insert(file, FileScope { own, ..brought.scope });
        self.trees.insert(file, tree);
        self.known.insert(path.to_owned(), Some(file));
        file
    }

    /// What only the library declares.
    fn of_the_library_alone(&mut self, file: FileId, tree: &File) {
        for item in &tree.items {
            let ItemKind::Extern { name, .. } = &item.kind else { continue };
            let why = "an `extern` is run by a part of lmvc in Rust";
            let at = Origin { file, span: name.span };
            self.diagnostics.push(
                Diagnostic::error(Code::NotALayer, format!("a spec cannot declare `{}`", name.text), at, why)
                    .help("build it from the library's parts: `layer NAME(…) { … }`"),
            );
        }
    }

    /// One `use` of the file `from`, which lies at `path`.
    fn follow(&mut self, from: FileId, path: &str, used: &UsePath, names: Option<&[UseName]>, brought: &mut Brought) {
        let (target, at) = match used {
            UsePath::Module(parts) => (self.module(from, parts), place(from, module_span(parts))),
            UsePath::File(literal) => (self.path(from, path, literal), place(from, literal.span)),
        };
        let Some(names) = names else {
            match target {
                Some(file) if brought.opened.contains(&file) => {}
                Some(file) => {
                    brought.opened.push(file);
                    self.modules.open(&mut brought.scope, Opened { file, at });
                }
                None => self.incomplete = true,
            }
            return;
        };
        if let (Some(file), Some(first)) = (target, names.first()) {
            brought.scope.taken_from.push(Opened { file, at: place(from, first.name.span) });
        }
        for name in names {
            let here = name.alias.as_ref().unwrap_or(&name.name);
            let here_at = place(from, here.span);
            let found = match target {
                Some(file) => self.name(from, file, used, &name.name),
                None => None,
            };
            if let Some(first) = brought.places.get(&here.text) {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("`{}` is imported twice", here.text),
                        here_at,
                        "imported again here",
                    )
                    .also(*first, "first imported here")
                    .help(format!("give one of them another name: `{} as other_{}`", name.name.text, here.text)),
                );
                continue;
            }
            brought.places.insert(here.text.clone(), here_at);
            brought.scope.imported.insert(here.text.clone(), found.unwrap_or(Imported::Missing));
        }
    }

    /// A name in the braces; `None` if it is not there, which is reported.
    fn name(&mut self, from: FileId, file: FileId, used: &UsePath, name: &Name) -> Option<Imported> {
        let at = place(from, name.span);
        let shown = match used {
            UsePath::Module(parts) => library::path_of(parts),
            UsePath::File(literal) => literal.text.clone(),
        };
        match self.modules.public(file, &name.text) {
            Found::One(_) | Found::Missing => return Some(Imported::Of(file, name.text.clone())),
            Found::Two(first, second) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("`{}` of `{shown}` comes from two files", name.text),
                        at,
                        "which of the two?",
                    )
                    .also(first.at, "one is imported here")
                    .also(second.at, "the other one here"),
                );
                return None;
            }
            Found::Nothing if self.torn.contains(&file) => return None,
            Found::Nothing => {}
        }
        if let Some(private) = self.modules.own(file, &name.text) {
            let mut diagnostic = Diagnostic::error(
                Code::Private,
                format!("`{}` is private to `{shown}`", name.text),
                at,
                "cannot be imported",
            );
            if library::module_of(file).is_none() {
                diagnostic = diagnostic.also(private.origin(), "defined here");
            }
            let without = name.text.trim_start_matches('_');
            self.diagnostics.push(
                diagnostic
                    .note("a name that begins with `_` is seen in its own file alone")
                    .help(format!("if others are meant to use it, call it `{without}` there")),
            );
            return None;
        }
        let known = self.modules.public_names(file);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut diagnostic = Diagnostic::error(
            Code::UnknownName,
            format!("there is no `{}` in `{shown}`", name.text),
            at,
            "not in there",
        );
        let setting = ["model", "data", "train", "eval", "reported", "seed"].contains(&name.text.as_str());
        if let (true, UsePath::File(literal)) = (setting, used) {
            diagnostic = diagnostic
                .note(format!("`{}` is a setting, and settings have no names to import", name.text))
                .help(format!("to build on the settings of that file, import it whole: `use \"{}\"`", literal.text));
        } else if nearest(&name.text, known.iter().copied()).is_some() {
            diagnostic = diagnostic.did_you_mean(&name.text, &known, at);
        } else if let [module] = library::modules_with(&name.text).as_slice() {
            diagnostic = diagnostic.help(format!("it is in another module: `use {module} {{ {} }}`", name.text));
        } else if known.is_empty() {
            diagnostic = diagnostic.note("it defines nothing");
        } else {
            let shown = known.iter().take(12).copied().collect::<Vec<_>>().join("`, `");
            let more = if known.len() > 12 { format!(" and {} more", known.len() - 12) } else { String::new() };
            diagnostic = diagnostic.note(format!("it has `{shown}`{more}"));
        }
        self.diagnostics.push(diagnostic);
        None
    }

    /// A module of the library by its path.
    fn module(&mut self, from: FileId, parts: &[Name]) -> Option<FileId> {
        let path = library::path_of(parts);
        if let Some(index) = library::index(&path) {
            return Some(FileId(index));
        }
        let at = place(from, module_span(parts));
        let diagnostic =
            Diagnostic::error(Code::Import, format!("the library has no module `{path}`"), at, "leads nowhere");
        let whole = path.rsplit_once('.').filter(|(module, _)| library::index(module).is_some());
        let beside = library::modules_with(&path);
        let diagnostic = if let Some((module, name)) = whole {
            let defined = library::modules_with(name).contains(&module);
            let text = if defined { format!("{module} {{ {name} }}") } else { module.to_owned() };
            diagnostic.replace(format!("`{module}` is a module; what is in it stands in braces"), at, text)
        } else if let [module] = beside.as_slice() {
            diagnostic.replace(format!("`{path}` is a name in `{module}`"), at, format!("{module} {{ {path} }}"))
        } else if path == "stdlib" || path.starts_with("stdlib.") {
            diagnostic.replace("the path begins below stdlib/", at, path.trim_start_matches("stdlib").trim_matches('.'))
        } else {
            let modules: Vec<&str> = library::modules().iter().map(|module| module.path.as_str()).collect();
            match nearest(&path, modules.iter().copied()) {
                Some(_) => diagnostic.did_you_mean(&path, &modules, at),
                None => {
                    let near = nearest_few(&path, &modules);
                    diagnostic
                        .note(format!("nearest to it are `{}`; `lmvc explain` lists them all", near.join("`, `")))
                        .help(format!(
                            "a file of your own goes by its path, in quotes: `use \"./{}.lmv\"`",
                            path.replace('.', "/")
                        ))
                }
            }
        };
        self.diagnostics.push(diagnostic);
        None
    }

    /// The file that a path in quotes leads to.
    fn path(&mut self, from: FileId, from_path: &str, literal: &Literal) -> Option<FileId> {
        let at = place(from, literal.span);
        let used = literal.text.as_str();
        if let Some(diagnostic) = self.not_portable(from_path, used, at) {
            self.diagnostics.push(diagnostic);
            return None;
        }
        let path = files::resolved(from_path, used);
        if let Some(begins) = self.way.iter().position(|on_the_way| *on_the_way == path) {
            self.cycle(begins, at);
            return None;
        }
        let file = match self.known.get(&path) {
            Some(known) => (*known)?,
            None if self.way.len() >= LONGEST_WAY => {
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::TooLarge,
                        "these files import each other in too long a row",
                        at,
                        format!("the row is {LONGEST_WAY} files long here"),
                    )
                    .note("a link to a folder above itself makes such a row out of a few files"),
                );
                return None;
            }
            None => match self.files.read(&path) {
                Ok(text) => self.file(path.clone(), &path, &text),
                Err(why) => {
                    self.known.insert(path.clone(), None);
                    let diagnostic = self.unreadable(&path, used, at, why);
                    self.diagnostics.push(diagnostic);
                    return None;
                }
            },
        };
        self.imports.push(Import { at, file });
        Some(file)
    }

    /// What is wrong with a path that means something on one machine, or one kind of machine, alone.
    fn not_portable(&self, from: &str, used: &str, at: Origin) -> Option<Diagnostic> {
        let bytes = used.as_bytes();
        let drive = bytes.get(1) == Some(&b':') && bytes.first().is_some_and(u8::is_ascii_alphabetic);
        let of_one_machine = used.starts_with(['/', '~']) || used.starts_with("\\") || drive;
        let slashes = used.replace('\\', "/");
        if of_one_machine {
            let diagnostic = Diagnostic::error(
                Code::ImportPath,
                "an import is a path from this file",
                at,
                "this is a place on one machine",
            );
            let name = &slashes[files::folder(&slashes).len()..];
            let beside = self.files.beside(from).iter().any(|beside| beside == name);
            return Some(match beside {
                true => diagnostic.replace("there is a file of that name beside this one", at, format!("\"./{name}\"")),
                false => diagnostic
                    .help("keep the file near this one, and write where it lies from here: `use \"./mine.lmv\"`"),
            });
        }
        if used.contains('\\') {
            let diagnostic = Diagnostic::error(
                Code::ImportPath,
                "the parts of a path are kept apart by `/`",
                at,
                "`\\` is understood on one kind of machine alone",
            );
            return Some(diagnostic.replace("the same everywhere", at, format!("\"{slashes}\"")));
        }
        if !used.starts_with("./") && !used.starts_with("../") {
            let diagnostic = Diagnostic::error(
                Code::ImportPath,
                "an import is a path from this file",
                at,
                "begins with neither `./` nor `../`",
            );
            let module = used.replace('/', ".");
            return Some(if library::index(&module).is_some() {
                diagnostic.replace("a module of the library stands without quotes", at, module)
            } else if used.is_empty() {
                diagnostic.help("for example `use \"./mine.lmv\"`")
            } else {
                diagnostic.replace("a file beside this one", at, format!("\"./{used}\""))
            });
        }
        None
    }

    fn unreadable(&self, path: &str, used: &str, at: Origin, why: Unreadable) -> Diagnostic {
        let name = &path[files::folder(path).len()..];
        let near = |diagnostic: Diagnostic| {
            let folder = files::folder(used);
            let beside = self.files.beside(path);
            let ended = format!("{name}.lmv");
            let near = match beside.contains(&ended) {
                true => Some(ended.as_str()),
                // By what stands before `.lmv`, which all have; the file that imports is not what it imports.
                false => {
                    let own = self.way.last().map(|own| &own[files::folder(own).len()..]);
                    let stem = |name: &'_ str| name.strip_suffix(".lmv").map_or(name.len(), str::len);
                    let others = beside.iter().filter(|other| Some(other.as_str()) != own);
                    let near = nearest(&name[..stem(name)], others.map(|other| &other[..stem(other)]));
                    near.and_then(|near| beside.iter().find(|other| &other[..stem(other)] == near)).map(String::as_str)
                }
            };
            match near {
                Some(near) => diagnostic.replace(format!("did you mean `{near}`?"), at, format!("\"{folder}{near}\"")),
                None => diagnostic
                    .note(format!("it was looked for at {path}"))
                    .help("a path begins in the folder of the file that imports: `./` there, `../` one folder up"),
            }
        };
        match why {
            Unreadable::Missing => {
                near(Diagnostic::error(Code::Import, format!("there is no file `{used}`"), at, "leads nowhere"))
            }
            Unreadable::Wrong(what) => {
                near(Diagnostic::error(Code::Import, format!("`{used}` {what}"), at, "cannot be imported"))
            }
        }
    }

    /// Files that import each other in a circle: `begins` is the place on the way of the one that `at` leads back to.
    fn cycle(&mut self, begins: usize, at: Origin) {
        let round: Vec<&str> = self.way[begins..].iter().map(String::as_str).collect();
        let Some(first) = round.first().copied() else { return };
        let diagnostic = if round.len() == 1 {
            Diagnostic::error(Code::ImportCycle, "this file imports itself", at, "leads back to this file")
                .help("remove this line: a file sees what it defines")
        } else {
            let way = round.iter().chain([&first]).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", then ");
            Diagnostic::error(
                Code::ImportCycle,
                "these files import each other",
                at,
                format!("leads back to `{first}`"),
            )
            .note(format!("the way round: {way}"))
            .help("put what both of them need into a file that imports neither")
        };
        self.diagnostics.push(diagnostic);
    }
}

fn place(file: FileId, span: Span) -> Origin {
    Origin { file, span }
}

fn module_span(parts: &[Name]) -> Span {
    // The grammar reads no path without a name.
    parts.iter().map(|part| part.span).reduce(Span::to).unwrap_or_default()
}
