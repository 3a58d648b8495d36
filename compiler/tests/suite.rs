//! Runs `tests/suite/*.lmv`: programs with the errors that they must give, written beside the line that causes each.
//!
//! A file holds many cases, each under a line `// --- its name ---`. A comment `//~ E0301 takes [.., 2049]` says that the
//! line gives an error of that code whose message or first label contains the text behind the code; `//~^` says the
//! same of the line above, and each further `^` goes one line up. What stands behind ` => ` is in one of its proposals: in
//! their words, or in what they would write. A case without such comments is a right program.
//!
//! A code that begins with W is that of a warning, which the program may have and be right.
//!
//! A case may have several files: a line `// file: mine.lmv` begins a further one, which the spec can import.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lmv_compiler::codes::PAGES;

mod programs;

use programs::{FILE, check};

/// An error on a line: what is expected, or what was found.
#[derive(Debug)]
struct Expected {
    /// The file, for one that is not the spec.
    file: Option<String>,
    line: usize,
    /// The line in the file of cases.
    shown: usize,
    code: String,
    fragment: String,
    /// What is to be proposed.
    proposal: Option<String>,
}

struct Case {
    file: String,
    name: String,
    text: String,
    /// The line of the file on which the text begins, for messages.
    begins: usize,
    expected: Vec<Expected>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite")
}

fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("tests/suite is there")
        .map(|entry| entry.expect("a file of tests/suite").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lmv"))
        .collect();
    files.sort();
    files.iter().flat_map(|file| cases_of(file)).collect()
}

fn cases_of(path: &Path) -> Vec<Case> {
    let file = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("a file of tests/suite is text");
    let mut cases: Vec<Case> = Vec::new();
    let (mut part, mut part_begins): (Option<String>, usize) = (None, 0);
    for (index, line) in text.lines().enumerate() {
        if let Some(path) = line.strip_prefix(FILE) {
            part = Some(path.trim().to_owned());
            part_begins = index;
        }
        if let Some(name) = line.strip_prefix("// --- ").and_then(|rest| rest.strip_suffix(" ---")) {
            let (file, name) = (file.clone(), name.to_owned());
            (part, part_begins) = (None, index + 1);
            cases.push(Case { file, name, text: String::new(), begins: index + 2, expected: Vec::new() });
        } else if let Some(case) = cases.last_mut() {
            let here = index - part_begins + 1;
            if let Some((_, annotation)) = line.split_once("//~") {
                let up = annotation.chars().take_while(|c| *c == '^').count();
                let annotation = annotation[up..].trim();
                let (code, fragment) = annotation.split_once(' ').unwrap_or((annotation, ""));
                let (fragment, proposal) = match fragment.split_once(" => ") {
                    Some((fragment, proposal)) => (fragment, Some(proposal.trim().to_owned())),
                    None => (fragment, None),
                };
                let (code, fragment) = (code.to_owned(), fragment.trim().to_owned());
                let (file, shown) = (part.clone(), index + 1 - up);
                case.expected.push(Expected { file, line: here - up, shown, code, fragment, proposal });
            }
            case.text.push_str(line);
            case.text.push('\n');
        }
    }
    assert!(!cases.is_empty(), "{file} has no `// --- name ---`");
    cases
}

/// The name of a case's spec, which is not that of any file it imports.
fn spec_name(case: &Case) -> String {
    format!("{} ({})", case.file, case.name)
}

/// What a case gives that it should not, and what it should give and does not.
fn disagreements(case: &Case) -> Vec<String> {
    let compiled = check(&spec_name(case), &case.text);
    let mut wanted: Vec<&Expected> = case.expected.iter().collect();
    let mut wrong = Vec::new();
    for diagnostic in compiled.diagnostics.iter().chain(&compiled.warnings) {
        let label = &diagnostic.labels[0];
        let (line, _) = compiled.sources.line_column(label.origin.file, label.origin.span.start);
        let code = diagnostic.code.as_str();
        let found = wanted.iter().position(|expected| {
            let said = diagnostic.message.contains(&expected.fragment) || label.message.contains(&expected.fragment);
            let file = &compiled.sources.get(label.origin.file).name;
            let in_file = expected.file.as_ref().map_or(label.origin.file == compiled.file, |wanted| wanted == file);
            let proposed = expected.proposal.as_ref().is_none_or(|wanted| {
                diagnostic.suggestions.iter().any(|proposal| {
                    proposal.message.contains(wanted) || proposal.edits.iter().any(|edit| edit.text.contains(wanted))
                })
            });
            in_file && expected.line == line && expected.code == code && said && proposed
        });
        match found {
            Some(index) => drop(wanted.remove(index)),
            None => wrong.push(format!("not expected:\n{}", diagnostic.render(&compiled.sources, false))),
        }
    }
    for expected in wanted {
        let proposal = expected.proposal.iter().map(|proposal| format!(" => {proposal}")).collect::<String>();
        let Expected { shown, code, fragment, .. } = expected;
        wrong.push(format!("missing on line {shown}: {code} {fragment}{proposal}\n"));
    }
    let something_to_run = compiled.experiment.is_some() || !compiled.variants.is_empty() || compiled.parts.is_some();
    if compiled.experiment.is_some() && !compiled.diagnostics.is_empty()
        || compiled.diagnostics.is_empty() && !something_to_run
    {
        wrong.push("there is an experiment exactly when nothing is wrong\n".to_owned());
    }
    wrong
}

#[test]
fn every_case_gives_its_errors_and_no_others() {
    let mut report = String::new();
    for case in cases() {
        if std::env::var_os("LMV_SUITE_PRINT").is_some() {
            let compiled = check(&spec_name(&case), &case.text);
            for diagnostic in compiled.diagnostics.iter().chain(&compiled.warnings) {
                println!("{}", diagnostic.render(&compiled.sources, false));
            }
        }
        for wrong in disagreements(&case) {
            report += &format!("tests/suite/{}:{}: {}: {wrong}\n", case.file, case.begins, case.name);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn every_code_has_a_case_and_every_case_a_name_of_its_own() {
    let cases = cases();
    let codes: BTreeSet<&str> = cases.iter().flat_map(|case| &case.expected).map(|e| e.code.as_str()).collect();
    let missing: Vec<&str> = PAGES.iter().map(|page| page.name).filter(|name| !codes.contains(name)).collect();
    assert!(missing.is_empty(), "no case gives {missing:?}");
    let names: BTreeSet<(&str, &str)> = cases.iter().map(|case| (case.file.as_str(), case.name.as_str())).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one file have the same name");
    assert!(cases.len() >= 300, "{} cases", cases.len());
    assert!(cases.iter().filter(|case| case.expected.is_empty()).count() >= 20, "right programs are missing");
}
