//! `lmvc explain CODE|NAME`

use lmv_compiler::codes::{Code, PAGES};
use lmv_compiler::library::{self, Module};
use lmv_compiler::manual::{Argument, Entry, entries};
use lmv_compiler::vocabulary;

use crate::context::{Context, Exit, Message, Paint};
use crate::spec::nearest;

/// The longest line, and where the second column begins.
const WIDTH: usize = 100;
const INDENT: usize = 10;

/// Explain an error code, a name of the library, one of its modules, or a word of the language
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A code as in `error[E0301]`, a name as `linear` or `vision.vit.block`, a module as `vision.vit`, or a word as
    /// `frozen`; without one, the words and modules are listed
    #[arg(value_name = "CODE|NAME")]
    what: Option<String>,
}

/// Prints the code's page, the word's paragraph, or the name's declaration with its documentation.
pub fn run(args: &Args, context: &Context) -> Exit {
    let color = context.stdout_color;
    let Some(what) = args.what.as_deref().map(str::trim) else { return context.print(&everything(color)).into() };
    if let Some(page) = Code::page(what) {
        return context.print(&highlighted(page.text, color)).into();
    }
    if let Some(word) = vocabulary::find(what) {
        let text = format!("{}\n\n{}\n", Paint::Strong.on(word.word, color), word.text);
        return context.print(&text).into();
    }
    if let Some(module) = library::modules().iter().find(|module| module.path == what) {
        return context.print(&listed(module, color)).into();
    }
    let named: Vec<&Entry> = entries().iter().filter(|entry| entry.name == what || entry.path() == what).collect();
    match (named.as_slice(), vocabulary::recipe_field(what)) {
        ([], None) => context.wrong_command(&unknown(what)),
        ([], Some(field)) => {
            context.print(&format!("{}\n\n{}\n", Paint::Strong.on(field.word, color), field.text)).into()
        }
        ([only], field) => {
            let also =
                field.map(|field| format!("\nRecipes have a field of this name: `lmvc explain {}`.\n", field.word));
            context.print(&(declared(only, color) + &also.unwrap_or_default())).into()
        }
        (several, _) => {
            let mut text = format!("{} modules of the library have a `{what}`:\n\n", several.len());
            for entry in several {
                text += &format!("{}\n", in_one_line(entry, color));
            }
            text += &format!("\n`lmvc explain {}` prints one of them.\n", several[0].path());
            context.print(&text).into()
        }
    }
}

/// What there is to explain: the words of the language, and the modules of the library with their names.
fn everything(color: bool) -> String {
    let words: Vec<String> = vocabulary::words().map(|word| word.word.to_owned()).collect();
    let mut text = wrapped("words", &words, color) + "\n";
    for module in library::modules() {
        let names = entries().iter().filter(|entry| entry.module().path == module.path).map(|entry| entry.name);
        let line =
            names.fold(String::new(), |line, name| if line.is_empty() { name.to_owned() } else { line + ", " + name });
        let room = WIDTH.saturating_sub(module.path.len() + 2);
        let shown = match line.char_indices().nth(room) {
            Some((end, _)) => format!("{}, …", line[..end].rsplit_once(',').map_or("", |(names, _)| names)),
            None => line,
        };
        text += &format!("{}  {shown}\n", Paint::Strong.on(&module.path, color));
    }
    text + "\n`lmvc explain vision.vit` lists a module, and `lmvc explain frozen` tells of a word or a name.\n"
}

/// A declaration with its documentation, how it is imported, and what it has to do with others.
fn declared(entry: &Entry, color: bool) -> String {
    let mut text = String::new();
    if let Some(doc) = entry.doc {
        text += &format!("{}\n\n", doc.trim());
    }
    text += &format!("{}\n\n", Paint::Strong.on(entry.written, color));
    if entry.not_yet_run {
        text += "It cannot run yet: it is declared, and its part in Rust is not written.\n\n";
    }
    if !entry.in_prelude && entry.kind != "names" {
        text += &format!("use {} {{ {} }}\n\n", entry.module().path, entry.name);
    }
    let mut facts: Vec<(&str, Vec<String>)> = Vec::new();
    let needed = |argument: &&Argument| argument.default.is_none();
    let names = |arguments: Vec<&Argument>| arguments.into_iter().map(|argument| argument.name.to_owned()).collect();
    if entry.kind != "names" {
        facts.push(("needs", names(entry.arguments.iter().filter(needed).collect())));
        facts.push(("may have", names(entry.arguments.iter().filter(|argument| !needed(argument)).collect())));
    }
    facts.push(("takes", entry.takes.iter().map(|ty| (*ty).to_owned()).collect()));
    facts.push(("gives", entry.gives.iter().map(|ty| (*ty).to_owned()).collect()));
    facts.push(("owns", entry.owns.iter().map(|tensor| format!("{} {}", tensor.name, tensor.shape)).collect()));
    facts.push(("made of", entry.uses()));
    facts.push(("used by", entry.used_by()));
    for (title, fact) in facts.into_iter().filter(|(_, fact)| !fact.is_empty()) {
        text += &wrapped(title, &fact, color);
    }
    text + &format!("\n{}\n", Paint::Faint.on(&entry.module().file, color))
}

/// A titled list in lines of at most [`WIDTH`].
fn wrapped(title: &str, items: &[String], color: bool) -> String {
    let mut lines = vec![String::new()];
    for (index, item) in items.iter().enumerate() {
        let item = if index + 1 == items.len() { item.clone() } else { format!("{item},") };
        let last = lines.len() - 1;
        if !lines[last].is_empty() && INDENT + lines[last].chars().count() + 1 + item.chars().count() > WIDTH {
            lines.push(item);
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last] += &item;
    }
    let title = Paint::Faint.on(&format!("{title:<INDENT$}"), color);
    format!("{title}{}\n", lines.join(&format!("\n{:INDENT$}", "")))
}

/// A module's documentation and what it declares, a line each.
fn listed(module: &'static Module, color: bool) -> String {
    let mut text = module.tree().doc.iter().map(|doc| format!("{}\n\n", doc.trim())).collect::<String>();
    for entry in entries().iter().filter(|entry| entry.module().path == module.path) {
        text += &format!("{}\n", in_one_line(entry, color));
    }
    text + &format!("\n{}\n", Paint::Faint.on(&module.file, color))
}

/// `vision.vit.block  A pre-norm transformer block.`
fn in_one_line(entry: &Entry, color: bool) -> String {
    let first = entry.doc.and_then(|doc| doc.trim().lines().next()).unwrap_or_default();
    format!("{}  {first}", Paint::Strong.on(&entry.path(), color))
}

fn unknown(what: &str) -> Message {
    let upper = what.to_ascii_uppercase();
    let modules = || library::modules().iter();
    let near: Vec<String> = if is_code(&upper) {
        nearest(&upper, PAGES.iter().map(|page| page.name)).into_iter().map(str::to_owned).collect()
    } else {
        let names = modules().flat_map(|module| {
            module.named().map(|(name, _)| match what.contains('.') {
                true => format!("{}.{}", module.path, name.text),
                false => name.text.clone(),
            })
        });
        let words = vocabulary::words().flat_map(|word| {
            let field = word.word.strip_prefix("train.").map(str::to_owned);
            field.into_iter().chain([word.word.to_owned()])
        });
        let known: Vec<String> = names.chain(modules().map(|module| module.path.clone())).chain(words).collect();
        nearest(what, known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect()
    };
    let message =
        Message::error(format!("`{what}` is no error code, no name of the library and no word of the language"));
    match near.as_slice() {
        [] => message.help("codes stand in messages: `error[E0301]`; names are those of stdlib/"),
        near => message.help(format!("did you mean `{}`?", near[..near.len().min(3)].join("`, `"))),
    }
}

fn is_code(what: &str) -> bool {
    what.strip_prefix('E').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// A page of Markdown with its headings made to stand out.
fn highlighted(page: &str, color: bool) -> String {
    let mut text = String::new();
    for line in page.lines() {
        let heading = line.starts_with('#');
        text += &if heading { Paint::Strong.on(line, color) } else { line.to_owned() };
        text.push('\n');
    }
    text
}
