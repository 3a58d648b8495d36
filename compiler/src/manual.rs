//! The reference manual, made of the library itself: what each declaration takes, gives, owns and needs, its words, and
//! what it is made of. [`entries`] is that as data, for `lmvc explain`; [`pages`] as Markdown, for `docs/reference`.

mod pages;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use lmv_grammar::ast::{Expr, Fact, Item, ItemKind, Param, Signature, Span, Type, UsePath};

pub use self::pages::{Page, pages};
use crate::library::{self, Module, is_private, modules};

/// A declaration of the library.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of its module in [`modules`].
    module: usize,
    /// `layer`, `metric`, `recipe`, `llm`, …
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its `///` lines.
    pub doc: Option<&'static str>,
    /// The whole declaration as it is written.
    pub written: &'static str,
    /// Whether Rust runs it: it is an `extern`.
    pub is_extern: bool,
    /// Whether every file sees it without a `use`.
    pub in_prelude: bool,
    /// Whether its part in Rust is not written yet.
    pub not_yet_run: bool,
    /// What it is configured by.
    pub arguments: Vec<Argument>,
    /// The type of what flows in, or what it is measured on; as it is written.
    pub takes: Option<&'static str>,
    /// The type of what flows out.
    pub gives: Option<&'static str>,
    /// The tensors that it owns.
    pub owns: Vec<Tensor>,
    /// What must hold between arguments and dims: `0 <= p < 1`.
    pub bounds: Vec<&'static str>,
    /// What would hold if they were meant: `warmup < epochs`.
    pub expected: Vec<&'static str>,
    /// Floating-point operations of one sample.
    pub flops: Option<&'static str>,
    /// What it is made of: modules by number, with names.
    uses: BTreeSet<Place>,
    /// What is made of it.
    used_by: BTreeSet<Place>,
}

/// The module's number, and the name in it.
type Place = (usize, &'static str);

/// An argument of a declaration.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it is where nothing is given, as it is written.
    pub default: Option<&'static str>,
}

/// A tensor of a layer.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name below the layer's path.
    pub name: &'static str,
    /// Its shape.
    pub shape: &'static str,
    /// How it starts.
    pub start: &'static str,
    /// When it is there; always, if nothing is said.
    pub when: Option<&'static str>,
    /// Whether it is kept with the parameters and never trained.
    pub buffer: bool,
}

impl Entry {
    /// The module that it stands in.
    pub fn module(&self) -> &'static Module {
        &modules()[self.module]
    }

    /// Its name with its module: `vision.vit.block`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.module().path, self.name)
    }

    /// What it is made of, by path.
    pub fn uses(&self) -> Vec<String> {
        self.uses.iter().map(path).collect()
    }

    /// What of the library is made of it, by path.
    pub fn used_by(&self) -> Vec<String> {
        self.used_by.iter().map(path).collect()
    }
}

fn path((module, name): &Place) -> String {
    format!("{}.{name}", modules()[*module].path)
}

/// Every declaration of the library, by module, in the order in which they are written.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let mut entries: Vec<Entry> = Vec::new();
        for (number, module) in modules().iter().enumerate() {
            let sees = Sees::new(number, module);
            entries.extend(module.named().map(|(name, item)| entry(number, module, &name.text, item, &sees)));
        }
        let mut users: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
        for entry in &entries {
            for used in &entry.uses {
                users.entry(*used).or_default().insert((entry.module, entry.name));
            }
        }
        for entry in &mut entries {
            entry.used_by = users.remove(&(entry.module, entry.name)).unwrap_or_default();
        }
        entries
    })
}

/// What the names of a module stand for.
struct Sees {
    names: HashMap<&'static str, Place>,
}

impl Sees {
    fn new(number: usize, module: &'static Module) -> Self {
        let mut names: HashMap<&'static str, Place> =
            library::prelude().iter().map(|(name, at)| (*name, *at)).collect();
        for item in &module.tree().items {
            let ItemKind::Use { from: UsePath::Module(from), names: Some(used), .. } = &item.kind else { continue };
            let Some(from) = library::index(&library::path_of(from)) else { continue };
            for used in used {
                let seen = used.alias.as_ref().unwrap_or(&used.name);
                names.insert(seen.text.as_str(), (from, used.name.text.as_str()));
            }
        }
        names.extend(module.named().map(|(name, _)| (name.text.as_str(), (number, name.text.as_str()))));
        Self { names }
    }
}

fn entry(number: usize, module: &'static Module, name: &'static str, item: &'static Item, sees: &Sees) -> Entry {
    let text = |span: Span| module.text.get(span.start..span.end).unwrap_or("").trim();
    let ty = |ty: &Type| text(ty.span);
    let expr = |expr: &Expr| text(expr.span);
    let written = text(item.span);
    let (kind, params, signature, facts) = parts(&item.kind);
    let (takes, gives) = match signature {
        Some(Signature { input, output, .. }) => (input.as_ref().map(ty), Some(ty(output))),
        None => (None, None),
    };
    let mut entry = Entry {
        module: number,
        kind,
        name,
        doc: item.doc.as_deref(),
        written,
        is_extern: matches!(item.kind, ItemKind::Extern { .. }),
        in_prelude: library::prelude().get(name) == Some(&(number, name)),
        not_yet_run: facts.iter().any(|fact| matches!(fact, Fact::NotYetRun(_))),
        arguments: Vec::new(),
        takes,
        gives,
        owns: Vec::new(),
        bounds: Vec::new(),
        expected: Vec::new(),
        flops: None,
        uses: BTreeSet::new(),
        used_by: BTreeSet::new(),
    };
    entry.arguments.extend(
        params.iter().map(|param| Argument { name: &param.name.text, default: param.default.as_ref().map(expr) }),
    );
    for fact in facts {
        match fact {
            Fact::Weight { name, shape, init, when } => entry.owns.push(Tensor {
                name: &name.text,
                shape: ty(shape),
                start: expr(init),
                when: when.as_deref().map(expr),
                buffer: false,
            }),
            Fact::Buffer { name, shape, init } => entry.owns.push(Tensor {
                name: &name.text,
                shape: ty(shape),
                start: expr(init),
                when: None,
                buffer: true,
            }),
            Fact::Require { must, span, .. } => {
                let bound = text(*span);
                let bounds = if *must { &mut entry.bounds } else { &mut entry.expected };
                bounds.push(bound.trim_start_matches("require").trim_start_matches("expect").trim());
            }
            Fact::Flops(flops) => entry.flops = Some(expr(flops)),
            // Shown with the declaration.
            Fact::Means(_) | Fact::NotYetRun(_) | Fact::Keeps(_) | Fact::Gain(_) | Fact::Shift(_) => {}
        }
    }
    if !matches!(item.kind, ItemKind::Names { .. }) {
        let own = |word: &&str| *word != name && !params.iter().any(|param| param.name.text == **word);
        entry.uses =
            mentioned(written).into_iter().filter(own).filter_map(|word| sees.names.get(word).copied()).collect();
        entry.uses.remove(&(number, name));
    }
    entry
}

/// The kind of an item, its parameters, its type, and what stands in its braces as facts.
fn parts(kind: &ItemKind) -> (&str, &[Param], Option<&Signature>, &[Fact]) {
    match kind {
        ItemKind::Let { params, .. } => ("let", params.as_deref().unwrap_or_default(), None, &[]),
        ItemKind::Define { kind, params, signature, .. } => (&kind.text, params, signature.as_ref(), &[]),
        ItemKind::Extern { kind, params, signature, facts, .. } => (&kind.text, params, signature.as_ref(), facts),
        ItemKind::Recipe { params, .. } => ("recipe", params, None, &[]),
        ItemKind::Llm { .. } => ("llm", &[], None, &[]),
        ItemKind::Names { .. } => ("names", &[], None, &[]),
        ItemKind::Use { .. } | ItemKind::Setting { .. } | ItemKind::Model { .. } | ItemKind::Variant { .. } => {
            ("", &[], None, &[])
        }
    }
}

/// The words of a declaration that can stand for something of the library: no names of arguments, fields or paths.
fn mentioned(written: &'static str) -> Vec<&'static str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = written;
    let mut before = "";
    while let Some(start) = rest.find(|c: char| is_word(c) || c == '"' || c == '/') {
        let gap = &rest[..start];
        rest = &rest[start..];
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.find('"').map_or("", |end| &quoted[end + 1..]);
            continue;
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            rest = &rest[1..];
            continue;
        }
        let word = &rest[..end];
        rest = &rest[end..];
        let behind = rest.trim_start();
        let names_something = (behind.starts_with('=') && !behind.starts_with("==")) || behind.starts_with(':');
        let of_something = gap.ends_with('.') && !gap.ends_with("..") || before == "as";
        if !names_something && !of_something {
            words.push(word);
        }
        before = word;
    }
    words
}

/// What stands for a name as other files see it; nothing for one that its module keeps to itself.
fn shown(entry: &Entry) -> bool {
    !is_private(entry.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> &'static Entry {
        entries().iter().find(|entry| entry.path() == path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    #[test]
    fn a_declaration_is_told_with_all_its_parts() {
        let linear = named("layers.linear.linear");
        assert_eq!((linear.kind, linear.is_extern, linear.in_prelude), ("layer", true, true));
        assert_eq!((linear.takes, linear.gives), (Some("[.., in]"), Some("[.., out]")));
        let arguments: Vec<_> = linear.arguments.iter().map(|argument| (argument.name, argument.default)).collect();
        assert!(arguments.starts_with(&[("in", None), ("out", None), ("bias", Some("true"))]), "{arguments:?}");
        let bias = linear.owns.iter().find(|tensor| tensor.name == "bias").expect("its bias");
        assert_eq!((bias.shape, bias.when, bias.buffer), ("[out]", Some("bias"), false));
        assert!(linear.flops.is_some());
    }

    #[test]
    fn what_something_is_made_of_leads_back_to_it() {
        let block = named("vision.vit.block");
        for made_of in ["layers.attention.attention", "layers.norms.layer_norm", "layers.streams.residual"] {
            assert!(block.uses().contains(&made_of.to_owned()), "{:?}", block.uses());
            assert!(named(made_of).used_by().contains(&"vision.vit.block".to_owned()));
        }
        assert!(named("vision.vit.vit").uses().contains(&"vision.vit.block".to_owned()));
        for entry in entries() {
            assert!(!entry.uses().contains(&entry.path()), "{} is not made of itself", entry.path());
        }
    }

    #[test]
    fn names_of_arguments_and_paths_are_not_what_a_layer_is_made_of() {
        let words =
            mentioned("layer a(d, head = 1) : [T, d] -> [T, d] { linear(in = d, out = d) as gelu >> x.relu // tanh\n}");
        assert!(words.contains(&"linear"));
        for word in ["head", "in", "out", "gelu", "relu", "tanh"] {
            assert!(!words.contains(&word), "{word}: {words:?}");
        }
    }
}
