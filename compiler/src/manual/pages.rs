//! The manual as Markdown: a page a module, and an index.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Entry, Place, entries, shown};
use crate::library::{Module, PRELUDE, REPOSITORIES, modules};

/// A file of the manual.
pub struct Page {
    /// Where it lies below `docs/reference`: `vision/vit.md`.
    pub path: String,
    /// Its Markdown.
    pub text: String,
}

/// What all pages begin with, so that nobody mends them by hand.
const MADE: &str =
    "<!-- Made of stdlib/ by `LMV_WRITE_REFERENCE=1 cargo test -p lmv-compiler --test reference`. -->\n\n";

/// All pages of the manual.
pub fn pages() -> Vec<Page> {
    let mut pages = vec![index()];
    for (number, module) in modules().iter().enumerate().filter(|(_, module)| module.path != PRELUDE) {
        let entries: Vec<&Entry> = entries().iter().filter(|entry| entry.module == number && shown(entry)).collect();
        pages.push(Page { path: page_of(module), text: page(module, &entries) });
    }
    pages
}

fn page_of(module: &Module) -> String {
    format!("{}.md", module.path.replace('.', "/"))
}

/// The way from one module's page to another's, or from the index.
fn link(from: Option<&Module>, (module, name): Place) -> String {
    let up = from.map_or(0, |from| from.path.matches('.').count());
    let to = &modules()[module];
    match from.is_some_and(|from| from.path == to.path) {
        true => format!("[`{name}`](#{name})"),
        false => format!("[`{name}`]({}{}#{name})", "../".repeat(up), page_of(to)),
    }
}

fn index() -> Page {
    let mut text = format!("{MADE}# The library\n\n");
    text += "Everything that `stdlib/` declares, a page a module. What is in the prelude is seen by every file; the rest is \
             imported, as in `use motion.vectornet { vectornet }`. `lmvc explain NAME` prints the same in the terminal. \
             What the words of the language itself mean is in [language.md](../language.md). `paper.md §n` is a \
             section of our notes on the paper and its code, which are not part of the project.\n\n";
    text += "## Modules\n\n| module | |\n|---|---|\n";
    for module in modules().iter().filter(|module| module.path != PRELUDE) {
        let doc = match module.tree().doc.as_deref() {
            Some(doc) => first_sentence(doc),
            None => {
                let names = module.named().map(|(name, _)| format!("`{}`", name.text));
                names.collect::<Vec<_>>().join(", ")
            }
        };
        line(&mut text, &format!("| [`{}`]({}) | {} |", module.path, page_of(module), cell(&doc)));
    }
    let mut kinds: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries().iter().filter(|entry| shown(entry)) {
        kinds.entry(entry.kind).or_default().push(entry);
    }
    text += "\n## Names\n\n`·` stands behind what can be checked and shown, and cannot run yet.\n";
    for (kind, mut entries) in kinds {
        entries.sort_by_key(|entry| (entry.name, entry.module));
        line(&mut text, &format!("\n**{}**: ", plural(kind)));
        let links = entries.into_iter().map(|entry| {
            let mark = if entry.not_yet_run { " ·" } else { "" };
            format!("{}{mark}", link(None, (entry.module, entry.name)))
        });
        line(&mut text, &links.collect::<Vec<_>>().join(", "));
    }
    Page { path: "README.md".to_owned(), text }
}

fn page(module: &Module, entries: &[&Entry]) -> String {
    let up = "../".repeat(module.path.matches('.').count());
    let mut text = format!("{MADE}# {}\n\n", module.path);
    if let Some(doc) = &module.tree().doc {
        line(&mut text, &format!("{}\n", doc.trim()));
    }
    line(&mut text, &format!("[The library]({up}README.md) · [source]({up}../../{})\n", module.file));
    for entry in entries {
        section(&mut text, module, entry);
    }
    text.trim_end().to_owned() + "\n"
}

fn section(text: &mut String, module: &Module, entry: &Entry) {
    line(text, &format!("## {}\n", entry.name));
    let seen = match entry.in_prelude {
        true => "in the prelude".to_owned(),
        false if entry.name == REPOSITORIES => "found by the name of the weights".to_owned(),
        false if entry.kind == "names" => "found by the checkpoint".to_owned(),
        false => format!("`use {} {{ {} }}`", module.path, entry.name),
    };
    let runs = match (entry.is_extern, entry.not_yet_run) {
        (_, true) => ", **cannot run yet**",
        (true, false) => ", run by Rust",
        (false, false) => "",
    };
    line(text, &format!("*{}*{runs} · {seen}\n", singular(entry.kind)));
    if let Some(doc) = entry.doc {
        line(text, &format!("{}\n", linked(doc.trim(), module, entry)));
    }
    line(text, &format!("```lmv\n{}\n```\n", entry.written));
    if entry.kind == "names" {
        return;
    }
    match (entry.takes, entry.gives) {
        (Some(takes), Some(gives)) => line(text, &format!("Takes `{takes}` and gives `{gives}`.\n")),
        (None, Some(gives)) => line(text, &format!("Gives `{gives}`.\n")),
        _ => {}
    }
    if !entry.arguments.is_empty() {
        let bounded = |argument: &super::Argument| {
            entry.bounds.iter().any(|bound| words(bound).any(|word| word == argument.name))
        };
        let with_bounds = entry.arguments.iter().any(bounded);
        let (more, rule) = if with_bounds { (" must hold |", "---|") } else { ("", "") };
        line(text, &format!("| argument | left out, it is |{more}\n|---|---|{rule}"));
        for argument in &entry.arguments {
            let default = argument.default.map_or("needed".to_owned(), |default| format!("`{default}`"));
            let about = |bound: &&&str| words(bound).any(|word| word == argument.name);
            let bounds: Vec<String> = entry.bounds.iter().filter(about).map(|bound| format!("`{bound}`")).collect();
            let bounds = if with_bounds { format!(" {} |", cell(&bounds.join(", "))) } else { String::new() };
            line(text, &format!("| `{}` | {} |{bounds}", argument.name, cell(&default)));
        }
        text.push('\n');
    }
    let of_dims: Vec<String> = entry
        .bounds
        .iter()
        .filter(|bound| !entry.arguments.iter().any(|argument| words(bound).any(|word| word == argument.name)))
        .map(|bound| format!("`{bound}`"))
        .collect();
    if !of_dims.is_empty() {
        line(text, &format!("Needs {}.\n", of_dims.join(", ")));
    }
    if !entry.expected.is_empty() {
        line(text, &format!("Expects `{}`.\n", entry.expected.join("`, `")));
    }
    if !entry.owns.is_empty() {
        line(text, "| owns | shape | starts as | |\n|---|---|---|---|");
        for tensor in &entry.owns {
            let more = match (tensor.when, tensor.buffer) {
                (_, true) => "kept, never trained".to_owned(),
                (Some(when), false) => format!("if `{when}`"),
                (None, false) => String::new(),
            };
            let row = format!("| `{}` | `{}` | `{}` | {} |", tensor.name, tensor.shape, tensor.start, cell(&more));
            line(text, &row);
        }
        text.push('\n');
    }
    if let Some(flops) = entry.flops {
        line(text, &format!("Costs `{flops}` operations a sample.\n"));
    }
    for (title, places) in [("Made of", &entry.uses), ("Used by", &entry.used_by)] {
        let public = places.iter().filter(|(_, name)| !name.starts_with('_'));
        let links: Vec<String> = public.map(|place| link(Some(module), *place)).collect();
        if !links.is_empty() {
            line(text, &format!("{title} {}.\n", links.join(", ")));
        }
    }
}

/// The doc's words in backticks that name something that the entry is made of, or stands beside it, as links.
fn linked(doc: &str, module: &Module, entry: &Entry) -> String {
    let mut text = String::new();
    for (index, piece) in doc.split('`').enumerate() {
        if index % 2 == 0 {
            text += piece;
            continue;
        }
        let own = piece == entry.name || entry.arguments.iter().any(|argument| argument.name == piece);
        let place = entry
            .uses
            .iter()
            .copied()
            .find(|(_, name)| *name == piece)
            .or_else(|| {
                let beside = entries().iter().find(|other| other.module == entry.module && other.name == piece);
                beside.map(|other| (other.module, other.name))
            })
            .filter(|_| !own);
        match place {
            Some(place) => text += &link(Some(module), place),
            None => {
                let _ = write!(text, "`{piece}`");
            }
        }
    }
    text
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// The first sentence of a text, on one line.
fn first_sentence(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Not at `§3.1` or `e.g.`: a sentence ends before a space and a capital.
    let mut from = 0;
    while let Some(at) = flat[from..].find(". ") {
        let end = from + at;
        if flat[end + 2..].starts_with(|c: char| c.is_uppercase() || c == '`') {
            return flat[..=end].to_owned();
        }
        from = end + 2;
    }
    flat
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn singular(kind: &str) -> &str {
    match kind {
        "llm" => "language model",
        "augment" => "augmentation",
        "init" => "start of parameters",
        "group" => "group of parameters",
        "names" => "table of checkpoint names",
        "let" => "value",
        other => other,
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "loss" => "Losses".to_owned(),
        "mix" => "Mixes".to_owned(),
        "init" => "Starts of parameters".to_owned(),
        "group" => "Groups of parameters".to_owned(),
        "names" => "Tables of checkpoint names".to_owned(),
        other => {
            let singular = singular(other);
            let mut letters = singular.chars();
            let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}s", letters.as_str())
        }
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
