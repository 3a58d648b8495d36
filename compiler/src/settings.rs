//! The settings of a spec: those of the files that it extends, over them its own, over those a variant's, and on top what
//! was set from outside. A setting replaces the one below it (`train = deit(…)`); with a dot it changes one part of it
//! (`train.epochs = 100`).

use std::collections::HashMap;
use std::sync::Arc;

use lmv_grammar::ast::{Block, Expr, File, Input, Item, ItemKind, Name};

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::elaborate::Elaborator;
use crate::library;
use crate::modules::{Import, Opened};
use crate::near::meant;
use crate::overrides::Override;
use crate::source::{FileId, Origin};
use crate::value::{Env, EnvRef};

/// What a spec can set.
pub(crate) const SETTINGS: [&str; 6] = ["model", "data", "train", "eval", "reported", "seed"];

/// What makes an experiment another one, for which numbers that are `reported` of it do not hold.
const OF_ANOTHER: [&str; 4] = ["model", "data", "train", "eval"];

/// The settings that have parts.
const WITH_PARTS: [&str; 2] = ["train", "data"];

/// The trees of the user's files.
pub(crate) type Trees = HashMap<FileId, Arc<File>>;

/// A model as a setting says it.
#[derive(Clone, Copy)]
pub(crate) enum Model<'t> {
    Pipe(&'t Expr),
    Function { inputs: &'t [Input], body: &'t Block },
}

/// An expression that a setting is set to, and the names that it sees.
#[derive(Clone)]
pub(crate) struct Setting<'t> {
    pub value: &'t Expr,
    pub env: EnvRef,
}

impl Setting<'_> {
    /// Where the expression stands.
    pub fn at(&self) -> Origin {
        Origin { file: self.env.file, span: self.value.span }
    }
}

/// `train.epochs = 100`.
#[derive(Clone)]
pub(crate) struct Change<'t> {
    /// `train` or `data`.
    pub of: &'static str,
    /// `epochs`.
    pub part: String,
    /// Where the part is named; where its value stands, for what was set from outside.
    pub part_at: Origin,
    /// Where `train.epochs` stands, for what stands in a file.
    pub of_at: Option<Origin>,
    pub to: Setting<'t>,
}

/// The settings that hold, each at most once.
#[derive(Clone, Default)]
pub(crate) struct Settings<'t> {
    pub model: Option<(Model<'t>, EnvRef)>,
    others: HashMap<&'static str, Setting<'t>>,
    changes: Vec<Change<'t>>,
    /// Whether something that looks like `model` was reported, so that its absence need not be.
    pub model_is_misspelt: bool,
}

impl<'t> Settings<'t> {
    /// `data`, `train`, `eval`, `reported` or `seed`.
    pub fn get(&self, name: &str) -> Option<&Setting<'t>> {
        self.others.get(name)
    }

    /// Whether nothing is set or changed.
    pub fn is_empty(&self) -> bool {
        self.model.is_none() && self.others.is_empty() && self.changes.is_empty() && !self.model_is_misspelt
    }

    /// The changes to `data` or `train`, the later ones over the earlier ones.
    pub fn changes(&self, of: &str) -> Vec<Change<'t>> {
        self.changes.iter().filter(|change| change.of == of).cloned().collect()
    }

    /// The place of the model, for messages.
    pub fn model_at(&self) -> Option<Origin> {
        self.model.as_ref().map(|(model, env)| match model {
            Model::Pipe(expr) => Origin { file: env.file, span: expr.span },
            Model::Function { body, .. } => Origin { file: env.file, span: body.result.span },
        })
    }

    fn place(&self, name: &str) -> Option<Origin> {
        if name == "model" { self.model_at() } else { self.get(name).map(Setting::at) }
    }

    /// What stands in a file and changes a part of what nothing sets.
    pub fn without_a_base(&self) -> Option<&Change<'t>> {
        self.changes.iter().find(|change| change.of_at.is_some() && self.get(change.of).is_none())
    }

    fn change(&mut self, change: Change<'t>) {
        self.changes.retain(|earlier| (earlier.of, &earlier.part) != (change.of, &change.part));
        self.changes.push(change);
    }
}

impl Elaborator<'_> {
    /// The settings of a file, over those of the files that it extends.
    pub(crate) fn settings<'t>(&mut self, file: FileId, trees: &'t Trees) -> Settings<'t> {
        self.settings_of(file, trees, &mut HashMap::new())
    }

    fn settings_of<'t>(
        &mut self,
        file: FileId,
        trees: &'t Trees,
        known: &mut HashMap<FileId, Settings<'t>>,
    ) -> Settings<'t> {
        if let Some(known) = known.get(&file) {
            return known.clone();
        }
        let items = trees.get(&file).map(|tree| tree.items.as_slice()).unwrap_or_default();
        let mut settings = Settings::default();
        let mut from: HashMap<&'static str, Opened> = HashMap::new();
        for opened in self.modules.extended(file) {
            let base = self.settings_of(opened.file, trees, known);
            settings.model_is_misspelt |= base.model_is_misspelt;
            for name in SETTINGS {
                let Some(place) = base.place(name) else { continue };
                match settings.place(name) {
                    None => {
                        from.insert(name, opened);
                        match base.get(name) {
                            Some(setting) => drop(settings.others.insert(name, setting.clone())),
                            None => settings.model = base.model.clone(),
                        }
                    }
                    Some(other) if other == place || items.iter().any(|item| sets(&item.kind, name)) => {}
                    Some(_) => {
                        let mut diagnostic = Diagnostic::error(
                            Code::DefinedTwice,
                            format!("`{name}` comes from two files"),
                            opened.at,
                            format!("sets `{name}`"),
                        );
                        if let Some(first) = from.get(name) {
                            diagnostic = diagnostic.also(first.at, format!("sets `{name}`, too"));
                        }
                        self.report(diagnostic.help(format!(
                            "set `{name}` in this file, or import by name what you need of one of them: `use \"…\" {{ … }}`"
                        )));
                    }
                }
            }
            base.changes.into_iter().for_each(|change| settings.change(change));
        }
        self.lay_over(&mut settings, items, &Env::top(file));
        known.insert(file, settings.clone());
        settings
    }

    /// Lays the settings among `items` over those that are there.
    pub(crate) fn lay_over<'t>(&mut self, settings: &mut Settings<'t>, items: &'t [Item], env: &EnvRef) {
        let file = env.file;
        if items.iter().any(|item| OF_ANOTHER.iter().any(|name| touches(&item.kind, name))) {
            // What was published is of the experiment below, and this layer makes another one of it.
            settings.others.remove("reported");
        }
        let mut seen: HashMap<String, Origin> = HashMap::new();
        let mut changes = Vec::new();
        for item in items {
            let (name, rest, span) = match &item.kind {
                ItemKind::Setting { name, rest, .. } => (name.text.as_str(), rest.as_slice(), name.span),
                ItemKind::Model { keyword, .. } => ("model", [].as_slice(), *keyword),
                _ => continue,
            };
            let at = Origin { file, span };
            let whole_at = Origin { file, span: rest.last().map_or(span, |last| span.to(last.span)) };
            let whole =
                std::iter::once(name).chain(rest.iter().map(|part| part.text.as_str())).collect::<Vec<_>>().join(".");
            if let Some(first) = seen.insert(whole.clone(), whole_at) {
                self.report(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("`{whole}` is set twice"),
                        whole_at,
                        "set again here",
                    )
                    .also(first, "first set here")
                    .help(match name {
                        "model" => {
                            "keep one of them; a second model of the same experiment is a `variant NAME { model = … }`"
                        }
                        _ => "keep one of them",
                    }),
                );
                continue;
            }
            let known = SETTINGS.into_iter().find(|known| *known == name);
            match (&item.kind, known) {
                (ItemKind::Setting { value, .. }, known) if !rest.is_empty() => {
                    if let Some(of) = self.with_parts(name, known, rest, at)
                        && let [part] = rest
                    {
                        let part_at = Origin { file, span: part.span };
                        let to = Setting { value, env: env.clone() };
                        changes.push(Change { of, part: part.text.clone(), part_at, of_at: Some(whole_at), to });
                    }
                }
                (_, None) => {
                    settings.model_is_misspelt |= meant(name, &SETTINGS) == Some("model");
                    self.no_setting(name, at);
                }
                (ItemKind::Setting { value, .. }, Some("model")) => {
                    settings.model = Some((Model::Pipe(value), env.clone()));
                }
                (ItemKind::Setting { value, .. }, Some(known)) => {
                    settings.others.insert(known, Setting { value, env: env.clone() });
                    settings.changes.retain(|change| change.of != known);
                }
                (ItemKind::Model { inputs, body, .. }, _) => {
                    settings.model = Some((Model::Function { inputs, body }, env.clone()));
                }
                _ => {}
            }
        }
        changes.into_iter().for_each(|change| settings.change(change));
    }

    /// Lays what was set from outside over everything.
    pub(crate) fn set_from_outside<'t>(&mut self, settings: &mut Settings<'t>, overrides: &'t [Override]) {
        for set in overrides {
            let at = Origin { file: set.file, span: set.expr.span };
            let of = set.path.first().and_then(|first| WITH_PARTS.into_iter().find(|known| known == first));
            match (of, set.path.as_slice()) {
                (Some(of), [_, part]) => {
                    let to = Setting { value: &set.expr, env: Env::top(set.file) };
                    settings.change(Change { of, part: part.clone(), part_at: at, of_at: None, to });
                }
                // It is laid over the model where that is declared.
                (None, [_, _]) if set.of_llm => {}
                _ => {
                    self.report(
                        Diagnostic::error(
                            Code::UnknownField,
                            format!("`{}` is no setting that can be set from outside", set.path.join(".")),
                            at,
                            "for this value",
                        )
                        .help("arguments and fields of the recipe go by `train.NAME`, those of the dataset by `data.NAME`, \
                               and those of a language model by its name"),
                    );
                }
            }
        }
    }

    /// Says of a file that only defines parts how to get at a model.
    pub(crate) fn say_what_the_parts_are_for(&mut self, tree: &File) {
        let names: Vec<&str> =
            tree.items.iter().filter_map(|item| library::declared(&item.kind)).map(|name| name.text.as_str()).collect();
        let shown = names.iter().take(6).copied().collect::<Vec<_>>().join("`, `");
        let more = if names.len() > 6 { format!(" and {} more", names.len() - 6) } else { String::new() };
        let Some(missing) = self.diagnostics.iter_mut().find(|diagnostic| diagnostic.code == Code::NoModel) else {
            return;
        };
        missing.suggestions.clear();
        let first = names.iter().find(|name| !library::is_private(name)).copied().unwrap_or("…");
        *missing = missing
            .clone()
            .note(format!("it holds parts for other files: `{shown}`{more}"))
            .help(format!("a spec beside it has the model, and uses them: `use \"./….lmv\" {{ {first} }}`"));
    }

    /// Says of a spec without a model which of the files that it imports names from has one.
    pub(crate) fn say_what_could_be_extended<'i>(&mut self, imports: impl Iterator<Item = &'i Import>, trees: &Trees) {
        let has_a_model = |import: &&Import| {
            trees.get(&import.file).is_some_and(|tree| tree.items.iter().any(|item| sets(&item.kind, "model")))
        };
        let Some(import) = imports.into_iter().find(has_a_model) else { return };
        let path = self.sources.text(import.at).to_owned();
        if let Some(missing) = self.diagnostics.iter_mut().find(|diagnostic| diagnostic.code == Code::NoModel) {
            missing.suggestions.clear();
            *missing = missing
                .clone()
                .also(import.at, "this file has one, and braces bring names alone")
                .help(format!("to build on its settings, import it whole: `use {path}`"));
        }
    }

    /// The setting whose part `name.rest` is, if it has parts.
    fn with_parts(&mut self, name: &str, known: Option<&str>, rest: &[Name], at: Origin) -> Option<&'static str> {
        let Some(of) = WITH_PARTS.into_iter().find(|with| *with == name) else {
            let diagnostic = match known {
                Some(known) => Diagnostic::error(
                    Code::UnknownField,
                    format!("`{known}` has no parts to change"),
                    at,
                    "is one thing",
                )
                .help(format!("say it as a whole: `{known} = …`")),
                None => {
                    let diagnostic = Diagnostic::error(
                        Code::UnknownField,
                        format!("a spec has no `{name}`"),
                        at,
                        "not a setting of a spec",
                    );
                    match meant(name, &WITH_PARTS) {
                        Some(_) => diagnostic.did_you_mean(name, &WITH_PARTS, at),
                        None => diagnostic.note("`train.NAME` changes the recipe, and `data.NAME` the dataset"),
                    }
                }
            };
            self.report(diagnostic);
            return None;
        };
        if let [part, deeper, ..] = rest {
            let at = Origin { file: at.file, span: deeper.span };
            self.report(
                Diagnostic::error(
                    Code::UnknownField,
                    "one part of a setting is changed as a whole",
                    at,
                    "one dot too many",
                )
                .help(format!("write the part out: `{of}.{} = …`", part.text)),
            );
            return None;
        }
        Some(of)
    }

    fn no_setting(&mut self, name: &str, at: Origin) {
        let diagnostic =
            Diagnostic::error(Code::UnknownField, format!("a spec has no `{name}`"), at, "not a setting of a spec");
        let diagnostic = match meant(name, &SETTINGS) {
            Some(_) => diagnostic.did_you_mean(name, &SETTINGS, at),
            None => {
                let diagnostic = diagnostic.note("a spec has `model`, `data`, `train`, `eval`, `reported` and `seed`");
                match recipe_with(name) {
                    Some(recipe) => diagnostic
                        .help(format!("`{name}` is an argument of a recipe, as in `train = {recipe}({name} = …)`")),
                    None => diagnostic.replace("a value of your own is defined by `let`", at, format!("let {name}")),
                }
            }
        };
        self.report(diagnostic);
    }
}

/// Whether an item sets `name` as a whole.
fn sets(item: &ItemKind, name: &str) -> bool {
    match item {
        ItemKind::Setting { name: set, rest, .. } => set.text == name && rest.is_empty(),
        ItemKind::Model { .. } => name == "model",
        _ => false,
    }
}

/// Whether an item sets `name`, as a whole or a part of it.
fn touches(item: &ItemKind, name: &str) -> bool {
    matches!(item, ItemKind::Setting { name: set, .. } if set.text == name) || sets(item, name)
}

/// The first recipe that is seen everywhere and has a parameter of this name.
fn recipe_with(param: &str) -> Option<&'static str> {
    let modules = library::modules();
    let has = |module: usize, name: &str| {
        modules[module].named().any(|(declared, item)| match &item.kind {
            ItemKind::Recipe { params, .. } => declared.text == name && params.iter().any(|p| p.name.text == param),
            _ => false,
        })
    };
    let seen = library::prelude().iter().filter(|(_, (module, there))| has(*module, there));
    seen.map(|(name, _)| *name).min()
}
