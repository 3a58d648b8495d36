//! `lmvc explain CODE|NAME`

use std::sync::Arc;

use lmv_compiler::codes::{Code, PAGES};
use lmv_compiler::library;
use lmv_grammar::ast::ItemKind;

use crate::context::{Context, Exit, Message, Paint};
use crate::spec::nearest;

/// Explain an error code, or a name of the library
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A code as in `error[E0301]`, or a name as `linear`, `deit`, `llama7b`
    #[arg(value_name = "CODE|NAME")]
    what: String,
}

/// Prints the code's page, or the name's declaration with its documentation.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (what, color) = (args.what.trim(), context.stdout_color);
    if let Some(page) = Code::page(what) {
        return context.print(&highlighted(page.text, color)).into();
    }
    let names = library_names();
    if let Some((_, file)) = names.iter().find(|(name, _)| name == what)
        && let Some((written, doc)) = library::declaration(what)
    {
        let mut text = String::new();
        if let Some(doc) = doc {
            text += &format!("{}\n\n", doc.trim());
        }
        text += &format!("{}\n\n", Paint::Strong.on(&written, color));
        if library::not_yet_run().iter().any(|(_, name)| name == what) {
            text += "It cannot run yet: it is declared, and its part in Rust is not written.\n\n";
        }
        text += &format!("{}\n", Paint::Faint.on(file, color));
        return context.print(&text).into();
    }
    let upper = what.to_ascii_uppercase();
    let near = match is_code(&upper) {
        true => nearest(&upper, PAGES.iter().map(|page| page.name)),
        false => nearest(what, names.iter().map(|(name, _)| name.as_str())),
    };
    let message = Message::error(format!("`{what}` is neither an error code nor a name of the library"));
    let message = match near.as_slice() {
        [] => message.help("codes stand in messages: `error[E0301]`; names are those of stdlib/"),
        near => message.help(format!("did you mean `{}`?", near[..near.len().min(3)].join("`, `"))),
    };
    context.wrong_command(&message)
}

fn is_code(what: &str) -> bool {
    what.strip_prefix('E').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The names that the library declares, each with the file that does.
fn library_names() -> Vec<(String, String)> {
    // Whatever is compiled, the library is among its sources.
    let sources = lmv_compiler::compile("", "", &[]).sources;
    let library = sources.iter().filter(|(_, source)| source.library).map(|(_, source)| (&source.name, &source.tree));
    library
        .flat_map(|(file, tree)| {
            Arc::clone(tree).items.iter().filter_map(|item| Some((name(&item.kind)?, file.clone()))).collect::<Vec<_>>()
        })
        .collect()
}

fn name(kind: &ItemKind) -> Option<String> {
    match kind {
        ItemKind::Let { name, .. }
        | ItemKind::Define { name, .. }
        | ItemKind::Extern { name, .. }
        | ItemKind::Recipe { name, .. }
        | ItemKind::Llm { name, .. }
        | ItemKind::Names { name, .. } => Some(name.text.clone()),
        ItemKind::Setting { .. } | ItemKind::Model { .. } | ItemKind::Use { .. } | ItemKind::Variant { .. } => None,
    }
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
