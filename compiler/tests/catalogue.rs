//! Every page of `docs/errors` shows a program that gives its error, and the same program mended. A program may have
//! several files: `programs` says how they are written.

use lmv_compiler::codes::{PAGES, Page};

mod programs;

use programs::check;

/// The program in the first ```` ```lmv ```` block under a heading.
fn program<'p>(page: &'p Page, heading: &str) -> &'p str {
    let section = page.text.split_once(&format!("\n## {heading}\n"));
    let (_, section) = section.unwrap_or_else(|| panic!("{} has no section {heading}", page.name));
    let section = section.split("\n## ").next().unwrap_or(section);
    let (_, block) =
        section.split_once("```lmv\n").unwrap_or_else(|| panic!("{}: {heading} has no program", page.name));
    block.split_once("```").unwrap_or_else(|| panic!("{}: {heading} has an open block", page.name)).0
}

#[test]
fn every_page_begins_with_its_code_and_a_title() {
    for page in PAGES {
        let first = page.text.lines().next().unwrap_or("");
        let title = first.strip_prefix(&format!("# {}: ", page.name));
        assert!(title.is_some_and(|title| !title.is_empty()), "{}: {first:?}", page.name);
    }
}

#[test]
fn every_wrong_program_gives_its_code_alone() {
    for page in PAGES {
        let compiled = check("spec.lmv", program(page, "Wrong"));
        let told = || compiled.diagnostics.iter().chain(&compiled.warnings);
        let codes: Vec<&str> = told().map(|diagnostic| diagnostic.code.as_str()).collect();
        let shown: String = told().map(|d| d.render(&compiled.sources, false)).collect();
        assert!(!codes.is_empty() && codes.iter().all(|code| *code == page.name), "{}: {codes:?}\n{shown}", page.name);
        let warned = compiled.diagnostics.is_empty();
        assert_eq!(page.name.starts_with('W'), warned, "{}: a warning stops nothing", page.name);
    }
}

#[test]
fn every_right_program_is_right() {
    for page in PAGES {
        let compiled = check("spec.lmv", program(page, "Right"));
        let told = || compiled.diagnostics.iter().chain(&compiled.warnings);
        let shown: String = told().map(|d| d.render(&compiled.sources, false)).collect();
        assert!(told().next().is_none(), "{}:\n{shown}", page.name);
        assert!(compiled.experiment.is_some() || !compiled.variants.is_empty(), "{}", page.name);
    }
}
