//! `lmvc explain CODE|NAME`

use lmv_compiler::codes::{Code, PAGES};
use lmv_compiler::library::{self, Declaration, Module};

use crate::context::{Context, Exit, Message, Paint};
use crate::spec::nearest;

/// Explain an error code, a name of the library, or one of its modules
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A code as in `error[E0301]`, a name as `linear` or `vision.vit.block`, or a module as `vision.vit`
    #[arg(value_name = "CODE|NAME")]
    what: String,
}

/// Prints the code's page, or the name's declaration with its documentation.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (what, color) = (args.what.trim(), context.stdout_color);
    if let Some(page) = Code::page(what) {
        return context.print(&highlighted(page.text, color)).into();
    }
    if let Some(module) = library::modules().iter().find(|module| module.path == what) {
        return context.print(&listed(module, color)).into();
    }
    match library::declarations(what).as_slice() {
        [] => context.wrong_command(&unknown(what)),
        [only] => context.print(&declared(only, color)).into(),
        several => {
            let mut text = format!("{} modules of the library have a `{what}`:\n\n", several.len());
            for declaration in several {
                text += &format!("{}\n", in_one_line(declaration, color));
            }
            text += &format!("\n`lmvc explain {}.{what}` prints one of them.\n", several[0].module.path);
            context.print(&text).into()
        }
    }
}

/// A declaration with its documentation, and how it is imported.
fn declared(declaration: &Declaration, color: bool) -> String {
    let Declaration { module, name, written, doc, in_prelude, not_yet_run } = declaration;
    let mut text = String::new();
    if let Some(doc) = doc {
        text += &format!("{}\n\n", doc.trim());
    }
    text += &format!("{}\n\n", Paint::Strong.on(written, color));
    if *not_yet_run {
        text += "It cannot run yet: it is declared, and its part in Rust is not written.\n\n";
    }
    let import = match in_prelude {
        true => String::new(),
        false => format!("use {} {{ {name} }}\n\n", module.path),
    };
    text + &import + &format!("{}\n", Paint::Faint.on(&module.file, color))
}

/// A module's documentation and what it declares, a line each.
fn listed(module: &'static Module, color: bool) -> String {
    let mut text = module.tree().doc.iter().map(|doc| format!("{}\n\n", doc.trim())).collect::<String>();
    let names = module.named().map(|(name, _)| format!("{}.{}", module.path, name.text));
    for declaration in names.flat_map(|name| library::declarations(&name)) {
        text += &format!("{}\n", in_one_line(&declaration, color));
    }
    text + &format!("\n{}\n", Paint::Faint.on(&module.file, color))
}

/// `vision.vit.block  A pre-norm transformer block.`
fn in_one_line(declaration: &Declaration, color: bool) -> String {
    let path = format!("{}.{}", declaration.module.path, declaration.name);
    let first = declaration.doc.and_then(|doc| doc.trim().lines().next()).unwrap_or_default();
    format!("{}  {first}", Paint::Strong.on(&path, color))
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
        let known: Vec<String> = names.chain(modules().map(|module| module.path.clone())).collect();
        nearest(what, known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect()
    };
    let message = Message::error(format!("`{what}` is neither an error code nor a name of the library"));
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
