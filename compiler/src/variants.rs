//! The variants of a spec, each the spec with some settings changed: what there are, and what is wrong in which.

use std::collections::HashMap;

use lmv_grammar::ast::{Expr, Item, ItemKind, Name};

use crate::codes::Code;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Label};
use crate::elaborate::{Elaborator, Place};
use crate::library::is_private;
use crate::settings::Trees;
use crate::source::{FileId, Origin, Sources};
use crate::value::{Env, EnvRef, Scope, Value};

/// More members than this are refused: a family is a sweep that somebody means to run.
const MOST_MEMBERS: i64 = 1000;

/// One variant, or one member of a family.
pub(crate) struct Variant<'t> {
    /// `short`, `layer.31`.
    pub name: String,
    /// The name of its family.
    family: Option<&'t str>,
    /// The names that its settings see.
    pub env: EnvRef,
    pub settings: &'t [Item],
    /// Where its name stands.
    pub at: Origin,
    /// All of it.
    whole: Origin,
}

impl Variant<'_> {
    /// Whether a place lies in it.
    fn holds(&self, at: Origin) -> bool {
        holds(self.whole, at)
    }
}

/// A `variant` item.
#[derive(Clone, Copy)]
struct Declared<'t> {
    name: &'t Name,
    each: Option<&'t (Name, Expr)>,
    settings: &'t [Item],
    whole: Origin,
}

impl Declared<'_> {
    fn at(&self) -> Origin {
        Origin { file: self.whole.file, span: self.name.span }
    }
}

impl Elaborator<'_> {
    /// The variants of a file: those of the files that it extends, then its own, which replace those of the same name.
    pub(crate) fn variants<'t>(&mut self, file: FileId, trees: &'t Trees) -> Vec<Variant<'t>> {
        let mut variants: Vec<Variant<'t>> = Vec::new();
        for declared in self.declared_variants(file, trees, &mut HashMap::new()) {
            let top = Env::top(declared.whole.file);
            let member = |name: String, family, env| Variant {
                name,
                family,
                env,
                settings: declared.settings,
                at: declared.at(),
                whole: declared.whole,
            };
            let Some((var, each)) = declared.each else {
                variants.push(member(declared.name.text.clone(), None, top));
                continue;
            };
            for number in self.numbers(each, declared.whole.file) {
                let env = Env::within(&top, vec![(var.text.clone(), Value::int(number))]);
                let family = declared.name.text.as_str();
                variants.push(member(format!("{family}.{number}"), Some(family), env));
            }
        }
        variants
    }

    fn declared_variants<'t>(
        &mut self,
        file: FileId,
        trees: &'t Trees,
        known: &mut HashMap<FileId, Vec<Declared<'t>>>,
    ) -> Vec<Declared<'t>> {
        if let Some(known) = known.get(&file) {
            return known.clone();
        }
        let mut all: Vec<Declared<'t>> = Vec::new();
        for opened in self.modules.extended(file) {
            for declared in self.declared_variants(opened.file, trees, known) {
                if !is_private(&declared.name.text) {
                    all.retain(|other| other.name.text != declared.name.text);
                    all.push(declared);
                }
            }
        }
        let mut own: HashMap<&str, Origin> = HashMap::new();
        for item in trees.get(&file).map(|tree| tree.items.as_slice()).unwrap_or_default() {
            let ItemKind::Variant { name, each, settings } = &item.kind else { continue };
            let whole = Origin { file, span: item.span };
            let declared = Declared { name, each: each.as_ref(), settings, whole };
            if let Some(first) = own.insert(&name.text, declared.at()) {
                self.report(
                    Diagnostic::error(
                        Code::DefinedTwice,
                        format!("the variant `{}` is defined twice", name.text),
                        declared.at(),
                        "defined again here",
                    )
                    .also(first, "first defined here")
                    .help("give one of them another name, or remove it"),
                );
                continue;
            }
            all.retain(|other| other.name.text != name.text);
            all.push(declared);
        }
        known.insert(file, all.clone());
        all
    }

    /// The numbers of a family.
    fn numbers(&mut self, each: &Expr, file: FileId) -> Vec<i64> {
        let at = Origin { file, span: each.span };
        let value = self.eval(each, &Place { env: Env::top(file), scope: Scope::root() });
        let numbers: Vec<i64> = match value {
            Value::Error => return Vec::new(),
            Value::Range(from, to) if to.saturating_sub(from) > MOST_MEMBERS => {
                self.too_many(to.saturating_sub(from), at);
                return Vec::new();
            }
            Value::Range(from, to) => (from..to).collect(),
            other => {
                let label = match other {
                    Value::List(_) => "not all of these are".to_owned(),
                    _ => format!("this is {}", other.kind()),
                };
                let of_numbers = match other {
                    Value::List(_) | Value::Config(Config::List(_)) => self.settled(other, at),
                    _ => None,
                };
                let numbers = match &of_numbers {
                    Some(Config::List(items)) => items.iter().map(Config::int).collect::<Option<Vec<i64>>>(),
                    _ => None,
                };
                let Some(numbers) = numbers else {
                    self.report(
                        Diagnostic::error(Code::WrongType, "a family of variants goes over whole numbers", at, label)
                            .help("a range, `for i in 0..32`, or a list of whole numbers, `for i in [15, 31]`"),
                    );
                    return Vec::new();
                };
                numbers
            }
        };
        if numbers.is_empty() {
            self.report(
                Diagnostic::error(Code::OutOfRange, "a family without a variant in it", at, "holds no number")
                    .note("the end of a range is not part of it"),
            );
        }
        if numbers.len() as i64 > MOST_MEMBERS {
            self.too_many(numbers.len() as i64, at);
            return Vec::new();
        }
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        if let Some([twice, ..]) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            self.report(Diagnostic::error(
                Code::DefinedTwice,
                format!("one variant for {twice} is enough"),
                at,
                format!("has {twice} in it twice"),
            ));
            return Vec::new();
        }
        numbers
    }

    /// Said of a spec whose first variants have taken all the steps there are.
    pub(crate) fn too_many_variants(&mut self, last: &Variant<'_>) {
        self.report(
            Diagnostic::error(
                Code::TooLarge,
                "this spec has too many variants to be checked",
                last.at,
                "the checker gave up here",
            )
            .help("`--variant NAME` checks one of them"),
        );
    }

    /// Says of a spec without a model how to get at one of its variants.
    pub(crate) fn say_which_variants(&mut self, names: &[String]) {
        let Some(diagnostic) = self.diagnostics.iter_mut().find(|diagnostic| diagnostic.code == Code::NoModel) else {
            return;
        };
        let Some(first) = names.first() else { return };
        let shown = names.iter().take(6).map(String::as_str).collect::<Vec<_>>().join("`, `");
        let more = if names.len() > 6 { format!(" and {} more", names.len() - 6) } else { String::new() };
        diagnostic.suggestions.clear();
        *diagnostic = diagnostic
            .clone()
            .note(format!("its variants have models: `{shown}`{more}"))
            .help(format!("pick one of them, as in `--variant {first}`"));
    }

    fn too_many(&mut self, count: i64, at: Origin) {
        self.report(Diagnostic::error(
            Code::TooLarge,
            format!("a family of {count} variants"),
            at,
            format!("at most {MOST_MEMBERS} are checked"),
        ));
    }
}

/// What is wrong with a spec and its variants, each mistake once.
#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Diagnostic>,
    /// For each of them the variants that it is in, by number; none for one that is there without any.
    variants: Vec<Vec<usize>>,
    known: HashMap<(Code, Origin), usize>,
}

impl Findings {
    /// Adds what was found in the variant `number`, or in the spec itself.
    pub fn add(&mut self, diagnostics: Vec<Diagnostic>, variant: Option<usize>) {
        for diagnostic in diagnostics {
            let key = diagnostic.labels.first().map(|label| (diagnostic.code, label.origin));
            match key.and_then(|key| self.known.get(&key)) {
                Some(known) if self.variants[*known].is_empty() => {}
                Some(known) => self.variants[*known].extend(variant),
                None => {
                    key.map(|key| self.known.insert(key, self.found.len()));
                    self.found.push(diagnostic);
                    self.variants.push(variant.into_iter().collect());
                }
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// All of them, each saying which variants it is in. What several variants have against one place outside of them, as
    /// a model of each against the data of the spec, is told once.
    pub fn told(self, variants: &[Variant<'_>], sources: &Sources) -> Vec<Diagnostic> {
        let mut told: Vec<Told> = Vec::new();
        for (mut diagnostic, inside) in self.found.into_iter().zip(self.variants) {
            let primary = diagnostic.labels.first().map(|label| label.origin);
            let first = inside.first().and_then(|first| variants.get(*first));
            let own = match (first, primary) {
                (Some(first), Some(primary)) if first.holds(primary) => Some((first, primary)),
                _ => None,
            };
            if let Some((variant, at)) = own
                && let Some(same) = told.iter_mut().find(|same| same.is_the_same(&diagnostic, variant, sources))
            {
                same.again.push((variant.name.clone(), at));
                continue;
            }
            if let Some(first) = first {
                if own.is_none() {
                    let message = "with what this variant sets".to_owned();
                    diagnostic.labels.push(Label { origin: first.at, message, primary: false });
                }
                if first.family.is_some() || inside.len() > 1 || own.is_none() {
                    diagnostic.notes.push(which(&inside, first, variants));
                }
            }
            told.push(Told { diagnostic, variant: own.map(|(variant, _)| variant.whole), again: Vec::new() });
        }
        told.into_iter().map(|told| told.with_the_others(sources)).collect()
    }
}

/// A mistake, and where else the same is told.
struct Told {
    diagnostic: Diagnostic,
    /// All of the variant that it lies in.
    variant: Option<Origin>,
    /// Variants that have the same mistake at a place of their own.
    again: Vec<(String, Origin)>,
}

impl Told {
    /// Whether `other`, which lies in `variant`, says the same against the same place outside of both variants.
    fn is_the_same(&self, other: &Diagnostic, variant: &Variant<'_>, sources: &Sources) -> bool {
        let outside = |at: Origin| {
            !sources.get(at.file).library && !variant.holds(at) && !self.variant.is_some_and(|whole| holds(whole, at))
        };
        let against =
            |diagnostic: &Diagnostic, at: Origin| diagnostic.labels.iter().skip(1).any(|label| label.origin == at);
        let places = || self.diagnostic.labels.iter().skip(1).map(|label| label.origin);
        (self.diagnostic.code, &self.diagnostic.message) == (other.code, &other.message)
            && self.variant != Some(variant.whole)
            && places().any(|at| outside(at) && against(other, at))
    }

    fn with_the_others(self, sources: &Sources) -> Diagnostic {
        let place = |(name, at): &(String, Origin)| format!("`{name}` at {}", sources.position(*at));
        match self.again.as_slice() {
            [] => self.diagnostic,
            [only] => self.diagnostic.note(format!("the same in the variant {}", place(only))),
            several => {
                let shown: Vec<String> = several.iter().take(3).map(place).collect();
                let more = if several.len() > 3 { format!(" and {} more", several.len() - 3) } else { String::new() };
                self.diagnostic.note(format!("the same in the variants {}{more}", shown.join(", ")))
            }
        }
    }
}

fn holds(whole: Origin, at: Origin) -> bool {
    at.file == whole.file && whole.span.start <= at.span.start && at.span.end <= whole.span.end
}

/// `in the variants `layer.30` and `layer.31``.
fn which(inside: &[usize], first: &Variant<'_>, variants: &[Variant<'_>]) -> String {
    let named: Vec<&Variant<'_>> = inside.iter().filter_map(|number| variants.get(*number)).collect();
    let of_family = variants.iter().filter(|variant| variant.family == first.family && variant.at == first.at).count();
    if let (Some(family), true) = (first.family, named.iter().all(|variant| variant.at == first.at))
        && named.len() == of_family
        && of_family > 1
    {
        return format!("in every variant of `{family}`");
    }
    match named.as_slice() {
        [only] => format!("in the variant `{}`", only.name),
        [several @ .., last] if named.len() <= 4 => {
            let several: Vec<String> = several.iter().map(|variant| format!("`{}`", variant.name)).collect();
            format!("in the variants {} and `{}`", several.join(", "), last.name)
        }
        _ => format!("in the variant `{}` and {} others", first.name, named.len() - 1),
    }
}
