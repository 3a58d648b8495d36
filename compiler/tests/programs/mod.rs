//! Programs of several files in one text: the spec, then each further file under a line `// file: its/path.lmv`.

#![allow(dead_code)] // Each test takes what it needs.

use std::collections::BTreeMap;

use lmv_compiler::{Compiled, Spec, Which};

/// The line that begins a further file.
pub const FILE: &str = "// file: ";

/// The spec, and the other files by path.
pub fn files(program: &str) -> (String, BTreeMap<String, String>) {
    let mut spec = String::new();
    let mut others: BTreeMap<String, String> = BTreeMap::new();
    let mut path: Option<String> = None;
    for line in program.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix(FILE) {
            path = Some(name.trim().to_owned());
        }
        let text = path.as_ref().map_or(&mut spec, |path| others.entry(path.clone()).or_default());
        // The first line of a further file is a comment, so that it can stay.
        text.push_str(line);
    }
    (spec, others)
}

/// Checks a program and all its variants.
pub fn check(name: &str, program: &str) -> Compiled {
    check_one(name, program, Which::All)
}

/// Checks one variant of a program.
pub fn check_one(name: &str, program: &str, which: Which<'_>) -> Compiled {
    let (text, files) = files(program);
    lmv_compiler::check(&Spec { name, text: &text, files: &files, overrides: &[], which })
}
